"""A catalogue that is searched through tables finds what Meta's rule calls a match."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageOps

from indexers.image import ImageModality
from indexers.modality import Role, Segment, described
from service.app import running
from service.domain import NewReference, NewWork
from service.matcher import Query
from service.sandbox import ForkServer
from service.settings import Settings


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(data=tmp_path / "hound", listen="127.0.0.1:0", workers=1, approximate_from=1)


async def test_candidates_come_from_a_narrower_radius(settings: Settings, forks: ForkServer) -> None:
    modality = ImageModality()
    noise = np.random.default_rng(1).integers(0, 256, (40, 40, 3), dtype=np.uint8)
    picture = Image.fromarray(noise).resize((320, 320), Image.Resampling.BICUBIC)

    def read(image: Image.Image, role: Role) -> Query:
        segments = [Segment(0.0, 1.0, np.asarray(image))]
        return Query("image", described(modality, segments, role), None)

    reference = NewReference("", "image", None, 0, read(picture, Role.REFERENCE).fingerprints)
    async with running(settings, forks=forks) as service:
        catalogue = service.catalogue
        work = await catalogue.write(
            lambda transaction: transaction.create_work(NewWork(owner="studio"), [reference])
        )
        pdq = modality.channels[0]
        index = catalogue.indexes[pdq.scheme.id]
        mirrored = read(ImageOps.mirror(picture), Role.QUERY).fingerprints[0].descriptors
        tables = [index.has_tables]
        assert len(catalogue.search(pdq, mirrored, 10).ids) == 1
        assert catalogue.fold(pdq.scheme.id)
        tables.append(index.has_tables)
        assert tables == [False, True]
        hits = catalogue.search(pdq, mirrored, 10)
        owners = catalogue.store.descriptor_owners(pdq.scheme.id, hits.ids)
        assert [owner.work_id for owner in owners.values()] == [work.id]
        far = mirrored.copy()
        far[:, :4] ^= 0xFF  # 32 bits away
        assert len(catalogue.search(pdq, far, 10).ids) == 0
