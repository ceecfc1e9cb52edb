"""Collecting training pictures."""

from pathlib import Path

import cv2
import numpy as np
import pytest
import skimage
from PIL import Image

from indexers.training import sources, stickers
from indexers.training.sources import LONGER_SIDE, Source

PHOTOS = Path(skimage.__file__).parent / "data"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "in"
    folder.mkdir()
    for name in ("astronaut.png", "chelsea.png", "coffee.png"):
        (folder / name).write_bytes((PHOTOS / name).read_bytes())
    with Image.open(PHOTOS / "coffee.png") as coffee:
        coffee.resize((300, 200)).save(folder / "coffee_again.jpg", quality=60)
        coffee.resize((1200, 90)).save(folder / "banner.png")
    Image.new("RGB", (300, 300), "teal").save(folder / "flat.png")
    (folder / "broken.jpg").write_bytes(b"\xff\xd8 no picture")
    (folder / "notes.txt").write_text("no picture either")
    return folder


def test_pictures_are_shrunk_and_duplicates_banners_and_damage_left_out(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    kept = sources.collect([Source("skimage", "BSD-3-Clause", folder, 100)], out, processes=1)
    assert len(kept) == 3
    assert {Path(picture.original).name.partition(".")[0].removesuffix("_again") for picture in kept} == {
        "astronaut",
        "chelsea",
        "coffee",
    }
    for picture in kept:
        shrunk = cv2.imread(str(out / picture.file))
        assert shrunk is not None
        assert max(shrunk.shape) <= LONGER_SIDE
    assert len(list((out / "pictures").iterdir())) == 3


def test_the_earlier_source_keeps_what_both_have(folder: Path, tmp_path: Path) -> None:
    twice = [Source("first", "CC0-1.0", folder, 100), Source("second", "MIT", folder, 100)]
    kept = sources.collect(twice, tmp_path / "out", processes=1)
    assert {picture.source for picture in kept} == {"first"}


def test_no_more_than_asked_for(folder: Path, tmp_path: Path) -> None:
    assert len(sources.collect([Source("one", "MIT", folder, 1)], tmp_path / "out", processes=1)) <= 1


def test_parts_are_kept_apart_and_add_up(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    kept = sources.collect([Source("skimage", "BSD-3-Clause", folder, 100)], out, processes=1)
    parts = [sources.read_manifest(out, part) for part in ("train", "held_out")]
    assert sorted(parts[0] + parts[1]) == sorted(out / picture.file for picture in kept)


def test_a_tenth_is_held_out_by_name_alone() -> None:
    parts = [sources.part_of("source", f"{number}.jpg") for number in range(3000)]
    assert np.mean([part == "held_out" for part in parts]) == pytest.approx(0.1, abs=0.02)
    assert parts == [sources.part_of("source", f"{number}.jpg") for number in range(3000)]


def test_lists_are_read(tmp_path: Path) -> None:
    path = tmp_path / "list.txt"
    path.write_text("# name | licence | folder | most\nclothing | CC0-1.0 | /pictures/clothing | 500\n")
    assert sources.read_list(path) == [Source("clothing", "CC0-1.0", Path("/pictures/clothing"), 500)]


def test_stickers_want_fonts(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"NotoColorEmoji\.ttf"):
        stickers.draw(tmp_path, np.random.default_rng(0))
