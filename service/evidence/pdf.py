"""Sheets as PDF files, set by Typst in a process of their own."""

import json
import os
import subprocess
import sys
import tempfile
from bisect import bisect_right
from collections.abc import Iterable, Mapping
from functools import cache
from importlib.resources import files
from pathlib import Path
from struct import unpack, unpack_from
from threading import BoundedSemaphore
from typing import Any, Final

from service.errors import BusyError, ServiceError
from service.evidence.sheet import Picture

_SECONDS: Final = 120.0
_FONTS: Final = {"en": "Noto Sans CJK SC", "zh": "Noto Sans CJK SC"}
_AT_ONCE: Final = 2
_setting: Final = BoundedSemaphore(_AT_ONCE)
"""So many processes that take 200 MB each run at a time; the others wait."""
_TEMPLATE: Final = "sheet.typ"
_PROGRAM: Final = Path(__file__).with_name("typesetting.py")


class TypesettingError(ServiceError):
    """A PDF cannot be set: the fault is the service's, not the caller's."""


def render(sheet: Mapping[str, Any], pictures: Iterable[Picture], scratch: Path) -> bytes:
    """Set a sheet; the same sheet always gives the same bytes. Blocks.

    Args:
        sheet: As `service.evidence.sheet.lay_out` makes it, and ``date``, when it was made, as ISO 8601.
        pictures: Those that it names.
        scratch: Folder for what the process reads, which is gone afterwards.

    Raises:
        BusyError: If it took too long, or too many wait.
        TypesettingError: If it failed otherwise.
    """
    values = {
        **sheet,
        "fonts": [_FONTS[sheet["language"]]],
        "date": _date(sheet["date"]),
    }
    with tempfile.TemporaryDirectory(dir=scratch) as name:
        folder = Path(name)
        template = files("service.evidence").joinpath(_TEMPLATE).read_bytes()
        (folder / _TEMPLATE).write_bytes(template)
        (folder / "sheet.json").write_text(json.dumps(_settable(values)), encoding="utf-8")
        for picture in pictures:
            (folder / picture.file).write_bytes(picture.content)
        if not _setting.acquire(timeout=_SECONDS):
            raise BusyError("too many reports are being set as PDF; try again", retry_after=10.0)
        try:
            done = subprocess.run(  # noqa: S603  our own program; the folder's name is ours
                [sys.executable, "-P", str(_PROGRAM), str(folder)],
                capture_output=True,
                check=False,
                timeout=_SECONDS,
                stdin=subprocess.DEVNULL,
                env=environment(),
            )
        except subprocess.TimeoutExpired as error:
            raise BusyError("setting the report as PDF took too long; try again", retry_after=10.0) from error
        finally:
            _setting.release()
    if done.returncode or not done.stdout.startswith(b"%PDF"):
        last = done.stderr.decode("utf-8", "replace").strip().splitlines()[-1:]
        raise TypesettingError(f"the report cannot be set as PDF ({done.returncode}): {' '.join(last)[:500]}")
    return done.stdout


def environment() -> dict[str, str]:
    """What of ours the process needs: where Python finds modules, and no secrets."""
    kept = ("PATH", "PYTHONPATH", "LANG", "LC_ALL")
    return {name: os.environ[name] for name in kept if name in os.environ}


def _date(text: str) -> dict[str, int]:
    day, _, time = text.partition("T")
    year, month, number = map(int, day.split("-"))
    hour, minute, second = (int(part) for part in time[:8].split(":"))
    return {"year": year, "month": month, "day": number, "hour": hour, "minute": minute, "second": second}


def _settable(value: Any) -> Any:
    """Values with every character that the fonts have no shape for told by its number."""
    if isinstance(value, str):
        return "".join(c if c == "\n" or _has_shape(ord(c)) else f"[U+{ord(c):04X}]" for c in value)
    if isinstance(value, dict):
        return {name: _settable(one) for name, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [_settable(one) for one in value]
    return value


def _has_shape(character: int) -> bool:
    starts, ends = _shapes()
    place = bisect_right(starts, character) - 1
    return place >= 0 and character <= ends[place]


@cache
def _shapes() -> tuple[list[int], list[int]]:
    """First and last characters of the ranges that the fonts cover, ascending.

    From the character map of the collection's first face, which all faces share: OpenType 1.9, tables
    ``ttcf`` and ``cmap``, format 12.
    """
    (path,) = (one for one in files("manimgx_fonts_cjk").iterdir() if one.name.endswith(".ttc"))
    data = path.read_bytes()
    (face,) = unpack_from(">I", data, 12)
    (tables,) = unpack_from(">H", data, face + 4)
    entries = (unpack_from(">4sIII", data, face + 12 + 16 * number) for number in range(tables))
    cmap = next(offset for tag, _, offset, _ in entries if tag == b"cmap")
    (count,) = unpack_from(">H", data, cmap + 2)
    for number in range(count):
        platform, encoding, offset = unpack_from(">HHI", data, cmap + 4 + 8 * number)
        if (platform, encoding) == (3, 10):
            (groups,) = unpack_from(">I", data, cmap + offset + 12)
            ranges = [
                unpack(">III", data[at : at + 12])
                for at in range(cmap + offset + 16, cmap + offset + 16 + 12 * groups, 12)
            ]
            return [first for first, _, _ in ranges], [last for _, last, _ in ranges]
    raise TypesettingError("the fonts have no map of all characters: install the pinned manimgx-fonts-cjk")
