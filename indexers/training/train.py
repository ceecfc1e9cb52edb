r"""Training, in stages that each continue from the one before and resume where they were interrupted.

The recipe is SSCD's (https://arxiv.org/abs/2202.10261), for a small network with ImageNet weights::

    export OMP_WAIT_POLICY=PASSIVE
    python -m indexers.training.train DATA STATE --fonts FONTS --stage head --minutes 6
    python -m indexers.training.train DATA STATE --fonts FONTS --stage tune --minutes 180
    python -m indexers.training.train DATA STATE --fonts FONTS --stage last --minutes 60 --pixels 160

A network that was exported before can be trained further: `--start NETWORK.onnx` in place of the first stage.
A GPU waits for the views, which `--workers` processes make: give it one for each core, and more pairs::

    python -m indexers.training.train DATA STATE --fonts FONTS --stage tune --minutes 20 \
        --pairs 256 --workers 16

Where other programs use the CPU too, threads that wait actively for each other make steps ten times slower:
hence the first line. DATA is a folder made by `indexers.training.sources`, STATE holds `checkpoint.pt` and
`log.jsonl`. The first stage trains the head alone, on features of the frozen trunk. The same command resumes
an interrupted stage; another stage's name starts that stage from the averaged weights so far.
"""

import argparse
import copy
import ctypes
import itertools
import json
import math
import time
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from indexers.training import sources
from indexers.training.data import Pairs, Recipe
from indexers.training.export import read_weights
from indexers.training.loss import loss
from indexers.training.network import CopyNet, imagenet_trunk, unfold

TRUNK_RATE = 3e-4
HEAD_RATE = 1e-3
WEIGHT_DECAY = 1e-4
HEAD = "head"
"""Name of the stage that trains the head alone."""

CLIP = 5.0
"""Norm of the gradient above which it is scaled down."""

_WARM_UP = 0.05  # of a stage's time
_SAVE_EVERY = 240.0  # seconds
_LOG_EVERY = 10  # steps
HEAD_STEPS = 1000
"""Of the first stage, on features that are described once."""

_HEAD_BATCHES = 4  # cached batches in one step of the head's training


@dataclass(frozen=True, slots=True)
class Stage:
    """One stage.

    Attributes:
        name: Kept in the checkpoint: tells a stage that goes on from one that starts.
        minutes: Time for it, over all its runs; the learning rate follows a cosine over this time.
        frozen: How many of the 16 blocks keep their weights, from the stem on, which then does too; 0
            trains everything.
        average: Decay of the running average of the weights, per step.
        rate: Factor on the learning rates.
    """

    name: str
    minutes: float
    frozen: int
    average: float
    rate: float


class Run:
    """Weights, their running average, and the optimiser's state of a stage in a folder."""

    def __init__(
        self, stage: Stage, folder: Path, device: torch.device, *, start: Path | None = None
    ) -> None:
        """Load the checkpoint: to go on with its stage, or to start another from its averaged weights.

        Where there is none, start from an exported network, or from the ImageNet weights.
        """
        self.stage, self.folder, self.device = stage, folder, device
        self.net = CopyNet()
        saved = self._saved()
        if saved is None and start is not None:
            self.net = unfold(read_weights(start.read_bytes()))
        elif saved is None:
            self.net.trunk.load_state_dict(imagenet_trunk().state_dict())
        else:
            self.net.load_state_dict(saved["average"])
        goes_on = saved is not None and saved["stage"] == stage.name
        self.average = copy.deepcopy(self.net).to(device).eval().requires_grad_(requires_grad=False)
        if saved is not None and goes_on:
            self.net.load_state_dict(saved["net"])
        self.net.to(device).eval()  # batch norm keeps its ImageNet statistics
        self._freeze()
        self.optimiser = torch.optim.AdamW(self._groups(), weight_decay=WEIGHT_DECAY)
        self.step, self.elapsed = 0, 0.0
        if saved is not None and goes_on:
            self.optimiser.load_state_dict(saved["optimiser"])
            self.step, self.elapsed = saved["step"], saved["elapsed"]

    @property
    def progress(self) -> float:
        """Part of the stage's time that has passed, 0..1."""
        return min(self.elapsed / (self.stage.minutes * 60), 1.0)

    def update(self, descriptors: Tensor, shown: Tensor) -> Tensor:
        """Take one step down the loss of a batch, and return that."""
        value = loss(descriptors, shown)
        self.optimiser.zero_grad(set_to_none=True)
        value.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(self.net.parameters(), CLIP)
        for group in self.optimiser.param_groups:
            group["lr"] = group["base"] * self.stage.rate * _schedule(self.progress)
        self.optimiser.step()
        self.step += 1
        decay = min(self.stage.average, self.step / (self.step + 10))
        with torch.no_grad():
            for ours, theirs in zip(self.average.parameters(), self.net.parameters(), strict=True):
                if theirs.requires_grad:
                    ours.lerp_(theirs, 1 - decay)
        return value.detach()

    def save(self) -> None:
        """Replace the checkpoint."""
        state = {
            "stage": self.stage.name,
            "step": self.step,
            "elapsed": self.elapsed,
            "net": self.net.state_dict(),
            "average": self.average.state_dict(),
            "optimiser": self.optimiser.state_dict(),
        }
        part = self.folder / "checkpoint.part"
        torch.save(state, part)
        part.replace(self.folder / "checkpoint.pt")

    def log(self, value: float) -> None:
        """Append the state of the run to the log."""
        row = {
            "stage": self.stage.name,
            "step": self.step,
            "minutes": round(self.elapsed / 60, 2),
            "loss": value,
        }
        with (self.folder / "log.jsonl").open("a") as file:
            file.write(json.dumps(row) + "\n")

    def _saved(self) -> dict[str, Any] | None:
        path = self.folder / "checkpoint.pt"
        return torch.load(path, map_location="cpu", weights_only=True) if path.exists() else None

    def _freeze(self) -> None:
        trunk = self.net.trunk
        if self.stage.name == HEAD:
            trunk.requires_grad_(requires_grad=False)
            self.net.power.requires_grad = False
        elif self.stage.frozen:
            for layer in (trunk.stem, *trunk.blocks[: self.stage.frozen]):
                layer.requires_grad_(requires_grad=False)

    def _groups(self) -> list[dict[str, Any]]:
        trunk = [weight for weight in self.net.trunk.parameters() if weight.requires_grad]
        head = [weight for weight in (*self.net.head.parameters(), self.net.power) if weight.requires_grad]
        groups = [{"params": trunk, "base": TRUNK_RATE}, {"params": head, "base": HEAD_RATE}]
        return [group for group in groups if group["params"]]


def tune(run: Run, batches: Iterator[tuple[Tensor, Tensor]]) -> None:
    """Train trunk and head until the stage's time is spent, saving now and then."""
    saved = since = time.monotonic()
    recent: list[Tensor] = []
    while run.progress < 1:
        pictures, shown = next(batches)
        with torch.autocast(run.device.type, torch.bfloat16):
            features = run.net.features(pictures.to(run.device, non_blocking=True))
        descriptors = nn.functional.normalize(run.net.head(features))
        recent.append(run.update(descriptors, shown.to(run.device)))
        now = time.monotonic()
        run.elapsed += now - since
        since = now
        if run.step % _LOG_EVERY == 0:
            run.log(round(float(torch.stack(recent).mean()), 4))
            recent.clear()
        if now - saved > _SAVE_EVERY:
            run.save()
            saved = now
    run.save()


def train_head(run: Run, batches: Iterator[tuple[Tensor, Tensor]], seed: int) -> None:
    """Describe batches by the frozen trunk for the stage's time, then train the head on what there is."""
    known: list[tuple[Tensor, Tensor]] = []
    start = time.monotonic()
    while run.progress < 1:
        pictures, shown = next(batches)
        with torch.no_grad(), torch.autocast(run.device.type, torch.bfloat16):
            known.append((run.net.features(pictures.to(run.device)), shown.to(run.device)))
        run.elapsed = time.monotonic() - start
    generator = torch.Generator().manual_seed(seed)
    for step in range(HEAD_STEPS):
        run.elapsed = run.stage.minutes * 60 * step / HEAD_STEPS
        picked = torch.randint(len(known), (_HEAD_BATCHES,), generator=generator).tolist()
        features, shown = _joined([known[index] for index in picked])
        value = run.update(nn.functional.normalize(run.net.head(features)), shown)
        if run.step % _LOG_EVERY == 0:
            run.log(round(float(value), 4))
    run.save()


def _joined(batches: list[tuple[Tensor, Tensor]]) -> tuple[Tensor, Tensor]:
    """Join batches of features into one: all anchors first, and indexes shifted."""
    anchors = torch.cat([features[: len(shown)] for features, shown in batches])
    views = torch.cat([features[len(shown) :] for features, shown in batches])
    starts = itertools.accumulate((len(shown) for _, shown in batches), initial=0)
    indexes = [
        torch.where(shown < 0, shown, shown + start)
        for (_, shown), start in zip(batches, starts, strict=False)
    ]
    return torch.cat([anchors, views]), torch.cat(indexes)


def _schedule(progress: float) -> float:
    """Warm up linearly, then fall along a cosine to a hundredth."""
    if progress < _WARM_UP:
        return max(progress / _WARM_UP, 0.01)
    fallen = (progress - _WARM_UP) / (1 - _WARM_UP)
    return 0.01 + 0.99 * (1 + math.cos(math.pi * fallen)) / 2


def _keep_freed_memory() -> None:
    """Have glibc reuse large blocks instead of giving them back: a third more steps on a CPU."""
    libc = ctypes.CDLL(None)
    if hasattr(libc, "mallopt"):
        trim_threshold, mmap_threshold = -1, -3
        libc.mallopt(mmap_threshold, 1 << 30)
        libc.mallopt(trim_threshold, (1 << 31) - 1)


def main() -> None:
    """Run one stage."""
    parser = argparse.ArgumentParser(description="Train the copy-detection network, one stage.")
    parser.add_argument("data", type=Path, help="folder made by indexers.training.sources")
    parser.add_argument("state", type=Path, help="folder of the checkpoint and the log")
    parser.add_argument(
        "--fonts", type=Path, required=True, help="folder of .ttf fonts, NotoColorEmoji.ttf too"
    )
    parser.add_argument("--stage", required=True, help="'head', or any name for a stage of the whole network")
    parser.add_argument("--minutes", type=float, required=True)
    parser.add_argument("--pixels", type=int, default=128, help="side of the input, a multiple of 32")
    parser.add_argument("--pairs", type=int, default=64)
    parser.add_argument(
        "--start", type=Path, help="exported network to begin with, if there is no checkpoint"
    )
    parser.add_argument("--device", help="as PyTorch calls it; by default a GPU, or the CPU if there is none")
    parser.add_argument("--frozen", type=int, default=3, help="blocks whose weights stay; 0: train all")
    parser.add_argument("--average", type=float, default=0.995)
    parser.add_argument("--rate", type=float, default=1.0, help="factor on the learning rates")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--workers", type=int, default=2, help="processes that make views")
    given = parser.parse_args()
    _keep_freed_memory()
    torch.set_num_threads(given.threads)
    torch.manual_seed(given.seed)
    given.state.mkdir(parents=True, exist_ok=True)
    device = torch.device(given.device or ("cuda" if torch.cuda.is_available() else "cpu"))
    stage = Stage(given.stage, given.minutes, given.frozen, given.average, given.rate)
    run = Run(stage, given.state, device, start=given.start)
    pictures = tuple(sources.read_manifest(given.data, "train"))
    seed = (given.seed, zlib.crc32(given.stage.encode()), run.step)  # each run sees other views
    recipe = Recipe(pictures, given.fonts, given.pairs, given.pixels, seed)
    loader = DataLoader(
        Pairs(recipe),
        batch_size=None,
        num_workers=given.workers,
        prefetch_factor=3,
        pin_memory=device.type == "cuda",
    )
    if given.stage == HEAD:
        train_head(run, iter(loader), given.seed)
    else:
        tune(run, iter(loader))


if __name__ == "__main__":
    main()
