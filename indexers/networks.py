"""A network of the user's own for pictures, in the place of ours: read from a TOML file.

docs/guides/networks.md explains the file, with examples. ONNX runs as ours does; TorchScript needs PyTorch
(the extra `training`), and is code: use that of people whom you trust.
"""

import re
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import isfinite
from pathlib import Path
from typing import Any, Final, Self

import numpy as np

from indexers.errors import ModelError
from indexers.fingerprint import Metric, Scheme, SpanUnit
from indexers.image.background import Background
from indexers.image.background import read as read_background
from indexers.image.describe import BuiltIn, Network
from indexers.image.embed import Embedder, NetworkSpec, OnnxEmbedder

MOST_BYTES: Final = 64 * 1024
"""Longest TOML file: its text is given to workers on their command line."""

_NAME = re.compile(r"image\.[a-z][a-z0-9_]{0,30}")
_DIGEST = re.compile(r"[0-9a-fA-F]{64}")
_OURS: Final = ("image.cnn", "image.local", "image.pdq", "image.phash")

_Rule = tuple[str, Callable[[Any], object]]


def _whole(least: int, most: int) -> _Rule:
    return (
        f"a whole number from {least} to {most}",
        lambda value: type(value) is int and least <= value <= most,
    )


def _colours(*, positive: bool) -> _Rule:
    def fits(value: Any) -> bool:
        return (
            isinstance(value, list)
            and len(value) == 3
            and all(_is_number(one) and (one > 0 or not positive) for one in value)
        )

    return (f"three {'positive ' if positive else ''}numbers, of red, green and blue", fits)


def _is_number(value: Any) -> bool:
    return type(value) in {int, float} and isfinite(value)


_FILE: Final[Mapping[str, _Rule]] = {
    "file": ("the path of a file", lambda value: isinstance(value, str) and value and "\0" not in value),
    "sha256": ("64 hex digits", lambda value: isinstance(value, str) and _DIGEST.fullmatch(value)),
}
_NETWORK: Final[Mapping[str, _Rule]] = {
    "name": (
        f'a name such as "image.sscd", other than {", ".join(_OURS)}',
        lambda value: isinstance(value, str) and _NAME.fullmatch(value) and value not in _OURS,
    ),
    "version": _whole(1, 1_000_000),
    **_FILE,
    "dim": _whole(2, 4096),
    "pixels": _whole(16, 1024),
}
_OPTIONAL: Final[Mapping[str, _Rule]] = {
    "mean": _colours(positive=False),
    "std": _colours(positive=True),
    "radius": ("a number above 0, at most 2", lambda value: _is_number(value) and 0 < value <= 2),
    "background": ("a table with file and sha256", lambda value: isinstance(value, dict)),
}


@dataclass(frozen=True, slots=True)
class UserNetwork:
    """`indexers.image.describe.NetworkSource` of a user's own network.

    Attributes:
        text: What the TOML file says.
        path: Where the file lies, absolute: other files are looked for from its folder.
        spec: The network.
        radius: Cosine distance beyond which no picture becomes a candidate.
        background: Descriptors of unrelated pictures and their digest; None: every picture has quality 1.
    """

    text: str
    path: Path
    spec: NetworkSpec
    radius: float
    background: tuple[Path, str] | None

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read a TOML file, and check that the files that it names are there and unchanged.

        Raises:
            ModelError: If one cannot be read, has another digest, or the TOML says what makes no sense.
        """
        try:
            with path.open("rb") as file:
                data = file.read(MOST_BYTES + 1)
            text = data.decode()
        except (OSError, UnicodeDecodeError) as error:
            raise ModelError(f"{path} cannot be read: {error}") from error
        if len(data) > MOST_BYTES:
            raise ModelError(f"{path} is longer than {MOST_BYTES:,} bytes: is it a network's TOML file?")
        network = cls.parse(text, path.resolve())
        network.check()
        return network

    @classmethod
    def parse(cls, text: str, path: Path) -> Self:
        """Understand the text of a TOML file; no other file is looked at.

        Raises:
            ModelError: If it is no TOML, lacks something, or says what makes no sense.
        """
        try:
            table = tomllib.loads(text)
        except tomllib.TOMLDecodeError as error:
            raise ModelError(f"{path} is no TOML: {error}") from error
        _check(table, _NETWORK, _OPTIONAL, str(path))
        beside = table.get("background")
        if beside is not None:
            _check(beside, _FILE, {}, f"{path}: background")
        scheme = Scheme(
            table["name"],
            table["version"],
            table["dim"],
            Metric.COSINE,
            SpanUnit.FRAME,
            table["sha256"].lower(),
        )
        mean, std = (tuple(table[name]) if name in table else None for name in ("mean", "std"))
        return cls(
            text,
            path,
            NetworkSpec(scheme, path.parent / table["file"], table["pixels"], mean, std),
            float(table.get("radius", BuiltIn().radius)),
            None if beside is None else (path.parent / beside["file"], beside["sha256"].lower()),
        )

    @property
    def scheme(self) -> Scheme:
        """The scheme of its descriptors."""
        return self.spec.scheme

    def check(self) -> None:
        """Read the files that the TOML file names.

        Raises:
            ModelError: If one cannot be read, or has another digest.
        """
        self.spec.read()
        self._read_background()

    def load(self) -> Network:
        """Load the network, and describe a picture to see that it does what the TOML file says.

        Raises:
            ModelError: If a file is missing or was changed, PyTorch is missing, or the answer does not fit.
        """
        embedder = self._embedder()
        grey = np.full((self.spec.pixels, self.spec.pixels, 3), 128, np.uint8)
        try:
            embedder.embed([grey, grey])
        except ModelError:
            raise
        except Exception as error:  # ONNX Runtime's and PyTorch's share no base class but this
            hint = "check pixels, mean and std, and that it takes any number of pictures at a time, or one"
            raise ModelError(f"{self.spec.path} cannot describe a picture: {hint} ({error})") from error
        return Network(embedder, self._read_background())

    def _read_background(self) -> Background | None:
        if self.background is None:
            return None
        return read_background(*self.background, self.scheme.dim, f"see background in {self.path}")

    def _embedder(self) -> Embedder:
        if self.spec.path.suffix == ".onnx":
            return OnnxEmbedder(self.spec)
        try:
            from indexers.training.torch_embedder import (  # noqa: PLC0415 - an extra, and seconds to import
                TorchEmbedder,
            )
        except ImportError as error:
            raise ModelError(f"{self.spec.path} is no .onnx file, so TorchScript. {error}") from error
        return TorchEmbedder(self.spec, "cpu")


def _check(
    table: Mapping[str, Any], wanted: Mapping[str, _Rule], optional: Mapping[str, _Rule], where: str
) -> None:
    """Hold a table to rules.

    Raises:
        ModelError: If a key is missing, not known, or its value does not fit.
    """
    rules = {**wanted, **optional}
    missing = [name for name in wanted if name not in table]
    unknown = [name for name in table if name not in rules]
    if missing or unknown:
        problems = [f"lacks {', '.join(missing)}"] if missing else []
        problems += [f"has {', '.join(unknown)}, which is not known"] if unknown else []
        raise ModelError(f"{where} {' and '.join(problems)}: see docs/guides/networks.md")
    for name, value in table.items():
        meaning, fits = rules[name]
        if not fits(value):
            raise ModelError(f"{where}: {name} must be {meaning}")
