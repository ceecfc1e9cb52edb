"""docs/guides/errors.md explains every reason that a client can see."""

import re
from collections.abc import Iterator
from pathlib import Path

import grpc

from service.errors import ServiceError, StartupError, UnreadableMediaError

GUIDE = Path(__file__).parents[2] / "docs/guides/errors.md"
ROW = re.compile(r"^\| `([A-Z_]+)` \| (.+?) \| (.+?) \| (.+) \|$", re.MULTILINE)
ROWS = ROW.findall(GUIDE.read_text())
AT_START = "exit status 1"


def descendants(cls: type[ServiceError]) -> Iterator[type[ServiceError]]:
    for child in cls.__subclasses__():
        yield child
        yield from descendants(child)


def reasons() -> set[str]:
    """Every reason, those of UnreadableMediaError among them; INTERNAL is its place-holder."""
    named = {cls.reason for cls in descendants(ServiceError)} | {ServiceError.reason}
    return named | set(UnreadableMediaError.reasons)


def test_every_reason_is_explained_once() -> None:
    documented = [reason for reason, *_ in ROWS]
    assert sorted(documented) == sorted(reasons())


def test_every_reason_has_a_status_and_says_what_to_do() -> None:
    startup = {StartupError.reason} | {cls.reason for cls in descendants(StartupError)}
    for reason, status, meaning, remedy in ROWS:
        if reason in startup:
            assert status == AT_START, reason
        else:
            assert status.strip("`") in grpc.StatusCode.__members__, reason
        assert meaning.endswith("."), reason
        assert remedy.endswith("."), reason
