"""A user's own network: its TOML file, what is wrong with it, and how it takes the place of ours."""

import hashlib
import re
import sys
import tomllib
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from indexers import registry
from indexers.errors import FingerprintError, ModelError
from indexers.fingerprint import Metric, Scheme, SpanUnit
from indexers.image import ImageModality
from indexers.image.embed import CNN
from indexers.modality import MediaLimits, Role, described
from indexers.networks import MOST_BYTES, UserNetwork
from service.errors import StartupError
from service.sandbox import Pool
from tests import networks

GUIDE = Path(__file__).parents[2] / "docs/guides/networks.md"
DIGEST = "ab" * 32


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return networks.write(tmp_path)


def photo(photographs: dict[str, bytes]) -> bytes:
    return next(iter(photographs.values()))


def test_a_file_is_understood(path: Path) -> None:
    network = UserNetwork.read(path)
    digest = hashlib.sha256(path.with_name("tiny.onnx").read_bytes()).hexdigest()
    assert network.scheme == Scheme("image.tiny", 2, 24, Metric.COSINE, SpanUnit.FRAME, digest)
    assert network.spec.path == path.with_name("tiny.onnx")
    assert (network.spec.pixels, network.spec.mean, network.spec.std) == (32, (0.5,) * 3, (0.5,) * 3)
    assert (network.radius, network.background) == (0.8, None)
    assert network == UserNetwork.parse(network.text, network.path)
    assert hash(network) == hash(UserNetwork.read(path))


@pytest.mark.parametrize("example", re.findall(r"```toml\n(.*?)```", GUIDE.read_text(), re.DOTALL))
def test_the_guides_examples_are_understood(example: str) -> None:
    network = UserNetwork.parse(example, Path("/etc/network.toml"))
    assert network.scheme.name == tomllib.loads(example)["name"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"name": None, "dim": None}, "lacks name, dim"),
        ({"size": "3"}, "has size, which is not known"),
        ({"name": '"image.cnn"'}, "name must be"),
        ({"name": '"sscd"'}, "name must be"),
        ({"name": '"image.Größe"'}, "name must be"),
        ({"version": "0"}, "version must be a whole number from 1"),
        ({"version": "true"}, "version must be"),
        ({"file": '""'}, "file must be"),
        ({"sha256": '"abc"'}, "sha256 must be 64 hex digits"),
        ({"dim": "1"}, "dim must be"),
        ({"pixels": "100000"}, "pixels must be"),
        ({"mean": "[1, 2]"}, "mean must be three numbers"),
        ({"mean": "[1, 2, nan]"}, "mean must be"),
        ({"std": "[1, 1, 0]"}, "std must be three positive numbers"),
        ({"std": None}, "both mean and std"),
        ({"radius": "0"}, "radius must be"),
        ({"radius": "2.5"}, "radius must be"),
        ({"background": '"file.npy"'}, "background must be a table"),
        ({"background": '{ file = "a" }'}, "background lacks sha256"),
        ({"background": f'{{ file = 1, sha256 = "{DIGEST}" }}'}, "background: file must be"),
        ({"dim": "= 3"}, "is no TOML"),
    ],
)
def test_what_makes_no_sense_is_named(changes: dict[str, str | None], message: str) -> None:
    with pytest.raises(ModelError, match=message):
        UserNetwork.parse(networks.toml("tiny.onnx", DIGEST, **changes), Path("/etc/network.toml"))


def test_files_that_are_missing_or_changed_are_named(path: Path) -> None:
    with pytest.raises(ModelError, match=r"nowhere\.toml cannot be read"):
        UserNetwork.read(path.with_name("nowhere.toml"))
    path.with_name("bytes.toml").write_bytes(b"\xff")
    with pytest.raises(ModelError, match=r"bytes\.toml cannot be read"):
        UserNetwork.read(path.with_name("bytes.toml"))
    path.with_name("long.toml").write_bytes(b"#" * (MOST_BYTES + 1))
    with pytest.raises(ModelError, match="longer than"):
        UserNetwork.read(path.with_name("long.toml"))
    path.with_name("tiny.onnx").write_bytes(b"changed")
    with pytest.raises(ModelError, match=r"tiny\.onnx has SHA-256"):
        UserNetwork.read(path)
    path.with_name("tiny.onnx").unlink()
    with pytest.raises(ModelError, match=r"tiny\.onnx cannot be read"):
        UserNetwork.read(path)


@pytest.mark.parametrize("kept", ["whole", "of another length", "no array", "not finite", "changed"])
def test_a_background_says_how_common_a_picture_looks(tmp_path: Path, kept: str) -> None:
    rows = np.eye(networks.DIM, dtype=np.float32)
    buffer = BytesIO()
    np.save(buffer, {"of another length": rows[:, 1:], "not finite": rows * np.nan}.get(kept, rows))
    content = b"noise" if kept == "no array" else buffer.getvalue()
    (tmp_path / "background.npy").write_bytes(content)
    digest = DIGEST if kept == "changed" else hashlib.sha256(content).hexdigest()
    path = networks.write(tmp_path, background=f'{{ file = "background.npy", sha256 = "{digest}" }}')
    if kept != "whole":
        with pytest.raises(ModelError, match=r"background\.npy .*see background in"):
            UserNetwork.read(path)
        return
    network = UserNetwork.read(path).load()
    assert network.quality(rows[:1]) == pytest.approx([0.8])  # one of its five nearest is itself


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"dim": "32"}, "is 32-d"),
        ({"pixels": "48"}, "cannot describe a picture: check pixels"),
        ({"mean": None, "std": None}, "cannot describe a picture: check pixels, mean and std"),
    ],
)
def test_a_network_that_does_something_else_is_refused(
    tmp_path: Path, changes: dict[str, str | None], message: str
) -> None:
    with pytest.raises(ModelError, match=message):
        UserNetwork.read(networks.write(tmp_path, **changes)).load()


def test_a_network_for_one_picture_at_a_time_describes_many(tmp_path: Path) -> None:
    digest = networks.write_onnx(tmp_path / "one.onnx", batch=1)
    one = UserNetwork.parse(networks.toml("one.onnx", digest), tmp_path / "network.toml").load()
    many = UserNetwork.read(networks.write(tmp_path)).load()
    pictures = [np.full((32, 32, 3), value, np.uint8) for value in (10, 100, 200)]
    np.testing.assert_allclose(one.embedder.embed(pictures), many.embedder.embed(pictures), atol=1e-6)


def test_a_network_that_is_silent_about_a_picture_still_describes_it(path: Path) -> None:
    network = UserNetwork.read(path)
    black = np.zeros((40, 50, 3), np.uint8)  # below every line of the tiny network
    network.scheme.check(network.load().embedder.embed([black]))


@pytest.mark.filterwarnings("ignore:.*torch.jit")
def test_torchscript_is_loaded_where_pytorch_is_installed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script = torch.jit.trace(torch.nn.Flatten(), torch.zeros(1, 3, 16, 16))  # type: ignore[no-untyped-call]
    torch.jit.save(script, str(tmp_path / "mine.pt"))
    digest = hashlib.sha256((tmp_path / "mine.pt").read_bytes()).hexdigest()
    text = networks.toml("mine.pt", digest, dim="768", pixels="16")
    network = UserNetwork.parse(text, tmp_path / "network.toml")
    loaded = network.load()
    grey = [np.full((20, 20, 3), 200, np.uint8)]
    np.testing.assert_allclose(loaded.embedder.embed(grey), np.full((1, 768), 768**-0.5), atol=1e-6)
    assert loaded.quality(loaded.embedder.embed(grey)).tolist() == [1.0]
    monkeypatch.setitem(sys.modules, "indexers.training.torch_embedder", None)
    with pytest.raises(ModelError, match=r"mine\.pt is no \.onnx file, so TorchScript"):
        network.load()


def test_a_users_scheme_takes_the_place_of_ours(path: Path, photographs: dict[str, bytes]) -> None:
    network = UserNetwork.read(path)
    ours = registry.schemes()
    with registry.using(ImageModality(network)):
        assert registry.schemes().keys() == ours.keys() - {CNN.id} | {"image.tiny.v2"}
        assert "image.tiny.v2" in registry.searched()
        with pytest.raises(FingerprintError, match=r"no scheme 'image\.cnn\.v1'"):
            registry.channel(CNN.id)
        modality = registry.detect(photo(photographs)[:4096])
        pieces = list(modality.decode(BytesIO(photo(photographs)), MediaLimits()))
        query, work = (described(modality, pieces, role) for role in (Role.QUERY, Role.REFERENCE))
        assert {one.scheme.id for one in query} == {one.scheme.id for one in modality.channels}
        found = modality.align(query, work)
        assert found is not None
        assert found.signals["network_similarity"] == pytest.approx(1, abs=1e-5)
        assert found.signals["network_quality"] == 1
        assert not {"cnn_similarity", "cnn_quality"} & found.signals.keys()
        assert found.signals.keys() <= modality.signal_units.keys()
    assert registry.schemes() == ours
    assert registry.modalities() == registry.MODALITIES


@pytest.mark.parametrize("changed", ["file", "length"])
async def test_a_worker_refuses_a_network_that_is_not_what_the_service_read(
    tmp_path: Path, changed: str
) -> None:
    network = UserNetwork.read(networks.write(tmp_path, dim="24" if changed == "file" else "25"))
    if changed == "file":
        Image.new("L", (1, 1)).save(tmp_path / "tiny.onnx", "PNG")
    pool = Pool(workers=1, memory_mb=1024, seconds=60, queue_limit=1, limits=MediaLimits(), network=network)
    with pytest.raises(StartupError, match=r"tiny\.onnx (has SHA-256|gives an array of shape \(2, 24\))"):
        await pool.start()
