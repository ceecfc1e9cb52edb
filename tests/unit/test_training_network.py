"""The network, its loss, its training in stages, its export: what needs PyTorch."""

import hashlib
import json
from collections.abc import Iterator
from io import BytesIO
from itertools import repeat
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional

from indexers.errors import ModelError
from indexers.fingerprint import Metric, Scheme, SpanUnit
from indexers.image.decode import Picture
from indexers.image.embed import BUILT_IN, NetworkSpec, OnnxEmbedder, prepare, unit
from indexers.training import export, train
from indexers.training.loss import KOLEO_NEAREST, KOLEO_WEIGHT, loss
from indexers.training.network import CopyNet, fold, imagenet_trunk
from indexers.training.torch_embedder import PlainEmbedder, TorchEmbedder
from indexers.training.train import Run, Stage

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def pictures(photographs: dict[str, bytes]) -> list[Picture]:
    return [np.asarray(Image.open(BytesIO(data)).convert("RGB")) for data in photographs.values()]


@pytest.fixture(scope="module")
def net() -> CopyNet:
    torch.manual_seed(0)
    net = CopyNet()
    net.trunk = imagenet_trunk()
    return net.eval().requires_grad_(requires_grad=False)


def batch(pairs: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    pictures = torch.randint(0, 256, (2 * pairs, 32, 32, 3), dtype=torch.uint8, generator=generator)
    return pictures, alone(pairs)


def alone(pairs: int) -> Tensor:
    return torch.stack([torch.arange(pairs), torch.full((pairs,), -1)], dim=1)


def test_onnx_runtime_and_pytorch_agree_on_photographs(pictures: list[Picture]) -> None:
    difference = OnnxEmbedder().embed(pictures) - TorchEmbedder(device="cpu").embed(pictures)
    assert np.abs(difference).max() <= 1e-4


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*LeafSpec")  # PyTorch's own exporter
def test_an_export_describes_as_the_network_does(
    net: CopyNet, pictures: list[Picture], tmp_path: Path
) -> None:
    path = tmp_path / "net.onnx"
    digest = export.export(net, path)
    spec = NetworkSpec(Scheme("image.mine", 1, 256, Metric.COSINE, SpanUnit.FRAME, digest), path, 96)
    exported, ours = OnnxEmbedder(spec), TorchEmbedder(spec, "cpu")
    np.testing.assert_allclose(exported.embed(pictures), ours.embed(pictures), atol=1e-4)
    squares = np.random.default_rng(0).integers(0, 256, (3, 64, 64, 3), np.uint8)
    expected = net(torch.from_numpy(squares)).numpy()
    small = NetworkSpec(spec.scheme, path, 64)
    np.testing.assert_allclose(OnnxEmbedder(small).embed(list(squares)), expected, atol=1e-4)


def test_pytorch_refuses_other_networks(tmp_path: Path) -> None:
    path = tmp_path / "other.onnx"
    onnx.save(onnx.helper.make_model(onnx.helper.make_graph([], "other", [], [])), path)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    spec = NetworkSpec(Scheme("image.other", 1, 4, Metric.COSINE, SpanUnit.FRAME, digest), path, 4)
    with pytest.raises(ModelError, match="no export of our network"):
        TorchEmbedder(spec, "cpu")


@pytest.mark.filterwarnings("ignore:.*torch.jit")
def test_a_users_torchscript_is_fed_as_its_spec_says(pictures: list[Picture], tmp_path: Path) -> None:
    path = tmp_path / "mine.pt"
    script = torch.jit.trace(torch.nn.Flatten(), torch.zeros(1, 3, 4, 4))  # type: ignore[no-untyped-call]
    torch.jit.save(script, str(path))
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    scheme = Scheme("image.mine", 1, 48, Metric.COSINE, SpanUnit.FRAME, digest)
    spec = NetworkSpec(scheme, path, 4, (0.5, 0.5, 0.5), (0.25, 0.25, 0.25))
    expected = unit(prepare(pictures, spec).reshape(len(pictures), 48).astype(np.float32))
    np.testing.assert_allclose(TorchEmbedder(spec, "cpu").embed(pictures), expected, atol=1e-6)


def test_a_file_that_is_no_torchscript_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "noise.pt"
    path.write_bytes(b"no network")
    digest = hashlib.sha256(b"no network").hexdigest()
    spec = NetworkSpec(Scheme("image.mine", 1, 48, Metric.COSINE, SpanUnit.FRAME, digest), path, 4)
    with pytest.raises(ModelError, match="no TorchScript"):
        TorchEmbedder(spec, "cpu")


def test_folding_changes_nothing(net: CopyNet) -> None:
    pictures, _ = batch(3)
    torch.testing.assert_close(fold(net)(pictures), net(pictures), atol=1e-4, rtol=0)


def test_the_peer_gives_unit_features(pictures: list[Picture]) -> None:
    peer = PlainEmbedder(96)
    peer.scheme.check(peer.embed(pictures[:2]))


def test_the_loss_of_known_descriptors() -> None:
    eye = torch.eye(8)
    perfect = loss(torch.cat([eye, eye]), alone(8))
    torch.testing.assert_close(
        perfect, torch.tensor(-KOLEO_WEIGHT * np.log(2) / 2), atol=1e-3, rtol=0, check_dtype=False
    )
    same = loss(functional.normalize(torch.ones(16, 8)), alone(8))
    expected = np.log(1 + 14) - KOLEO_WEIGHT * np.log(KOLEO_NEAREST)
    torch.testing.assert_close(same, torch.tensor(expected), atol=1e-3, rtol=0, check_dtype=False)


def test_a_view_of_two_pictures_is_drawn_to_both() -> None:
    eye = torch.eye(4)
    views = torch.cat([functional.normalize(eye[:1] + eye[1:2]), eye[1:]])
    both = alone(4)
    both[0, 1] = 1
    assert loss(torch.cat([eye, views]), both) < loss(torch.cat([eye, views]), alone(4))


def test_training_lowers_the_loss_and_keeps_frozen_layers(tmp_path: Path) -> None:
    torch.manual_seed(0)
    run = Run(Stage("tune", 1.0, 5, 0.9, 1.0), tmp_path, CPU)
    pictures, shown = batch(4)
    before = {name: value.clone() for name, value in run.net.state_dict().items()}
    run.elapsed = 20.0
    losses = [float(run.update(run.net(pictures), shown)) for _ in range(6)]
    assert losses[-1] < losses[0]
    changed = {name for name, value in run.net.state_dict().items() if not torch.equal(value, before[name])}
    assert "trunk.last.conv.weight" in changed
    assert "head.weight" in changed
    assert not any(name.startswith(("trunk.stem", "trunk.blocks.4.")) for name in changed)
    assert not any("running" in name for name in changed)


def test_an_interrupted_stage_goes_on_where_it_was(tmp_path: Path) -> None:
    torch.manual_seed(0)
    stage = Stage("tune", 1.0, 14, 0.9, 1.0)
    run = Run(stage, tmp_path, CPU)
    run.elapsed = 20.0
    run.update(run.net(batch(3)[0]), alone(3))
    run.save()
    again = Run(stage, tmp_path, CPU)
    assert (again.step, again.elapsed) == (1, 20.0)
    pictures, shown = batch(3, seed=1)
    for one in (run, again):
        one.update(one.net(pictures), shown)
    for name, value in run.net.state_dict().items():
        torch.testing.assert_close(again.net.state_dict()[name], value)


def test_another_stage_starts_from_the_average(tmp_path: Path) -> None:
    torch.manual_seed(0)
    run = Run(Stage("tune", 1.0, 14, 0.9, 1.0), tmp_path, CPU)
    run.update(run.net(batch(3)[0]), alone(3))
    run.save()
    last = Run(Stage("last", 1.0, 0, 0.9, 1.0), tmp_path, CPU)
    assert (last.step, last.elapsed) == (0, 0.0)
    torch.testing.assert_close(last.net.head.weight, run.average.head.weight)
    assert all(weight.requires_grad for weight in last.net.parameters())


def test_the_first_stage_trains_the_head_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(train, "HEAD_STEPS", 20)
    torch.manual_seed(0)
    run = Run(Stage("head", 0.002, 3, 0.9, 1.0), tmp_path, CPU)
    trunk = {name: value.clone() for name, value in run.net.trunk.state_dict().items()}
    head = run.net.head.weight.clone()
    train.train_head(run, endless(), seed=0)
    assert not torch.equal(run.net.head.weight, head)
    for name, value in run.net.trunk.state_dict().items():
        assert torch.equal(value, trunk[name])
    assert Run(Stage("tune", 1.0, 3, 0.9, 1.0), tmp_path, CPU).net.head.weight.equal(run.average.head.weight)


def test_tuning_ends_with_its_time_and_is_saved(tmp_path: Path) -> None:
    torch.manual_seed(0)
    stage = Stage("tune", 0.01, 14, 0.9, 1.0)
    run = Run(stage, tmp_path, CPU)
    train.tune(run, endless())
    assert run.progress == 1.0
    assert Run(stage, tmp_path, CPU).step == run.step > 0


def test_the_log_says_how_far_it_is(tmp_path: Path) -> None:
    run = Run(Stage("tune", 1.0, 14, 0.9, 1.0), tmp_path, CPU)
    run.log(1.5)
    assert json.loads((tmp_path / "log.jsonl").read_text()) == {
        "stage": "tune",
        "step": 0,
        "minutes": 0.0,
        "loss": 1.5,
    }


def endless() -> Iterator[tuple[Tensor, Tensor]]:
    return repeat(batch(3))


def test_an_exported_network_can_be_trained_further(tmp_path: Path, pictures: list[Picture]) -> None:
    run = Run(Stage("more", 1.0, 0, 0.9, 1.0), tmp_path, CPU, start=BUILT_IN.path)
    squares = torch.from_numpy(prepare(pictures, BUILT_IN))
    np.testing.assert_allclose(run.average(squares).numpy(), OnnxEmbedder().embed(pictures), atol=1e-4)
    run.elapsed = 20.0
    small, shown = batch(4)
    losses = [float(run.update(run.net(small), shown)) for _ in range(4)]
    assert losses[-1] < losses[0]
