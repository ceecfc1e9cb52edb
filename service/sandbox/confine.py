"""What a worker gives up before it touches untrusted bytes."""

import ctypes
import math
import resource
import signal
import sys
import time
from dataclasses import dataclass
from pathlib import Path

_PR_SET_PDEATHSIG = 1
_PR_SET_DUMPABLE = 4
_PR_SET_NO_NEW_PRIVS = 38
"""From <linux/prctl.h>."""

_OPEN_FILES = 16
"""Standard streams, the media, its duplicates inside decoders."""


@dataclass(frozen=True, slots=True)
class TimeLimit:
    """How long reading one media item may take.

    Attributes:
        seconds: Whatever its size.
        seconds_per_mb: For each MiB of its file in addition.
        seconds_per_hour: For each hour of sound or film that was read of it, in addition: hours may be small
            files.
    """

    seconds: float
    seconds_per_mb: float
    seconds_per_hour: float

    def of(self, byte_count: int, read: float = 0.0) -> float:
        """Seconds for a file of this size of which so many seconds of sound or film were read."""
        return self.seconds + self.seconds_per_mb * byte_count / 2**20 + self.seconds_per_hour * read / 3600.0


def confine(*, memory_bytes: int) -> None:
    """Take away from this process, for good, what reading media never needs.

    It may take `memory_bytes` of address space more than it has now, write no file, open few, leave no
    core dump, gain no privileges and be read by no other process of the user. On Linux it dies with its
    parent.

    Raises:
        OSError: If the system refuses.
    """
    die_with_parent()
    if sys.platform == "linux":
        _prctl(_PR_SET_NO_NEW_PRIVS, 1)
        _prctl(_PR_SET_DUMPABLE, 0)
        _limit(resource.RLIMIT_AS, _address_space() + memory_bytes)
    _limit(resource.RLIMIT_FSIZE, 0)
    _limit(resource.RLIMIT_CORE, 0)
    _limit(resource.RLIMIT_NOFILE, _OPEN_FILES)


def die_with_parent() -> None:
    """On Linux: let the end of the thread that made this process end it, however that comes.

    Raises:
        OSError: If the system refuses.
    """
    if sys.platform == "linux":
        _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def limit_cpu(seconds: float) -> None:
    """Let this process take at most so many CPU seconds more, rounded up; then SIGXCPU ends it.

    The second line: the service kills a worker that is late by the clock.
    """
    _, hard = resource.getrlimit(resource.RLIMIT_CPU)
    soft = math.ceil(time.process_time() + seconds) + 1
    resource.setrlimit(resource.RLIMIT_CPU, (soft, hard))


def _limit(what: int, value: int) -> None:
    _, hard = resource.getrlimit(what)
    value = value if hard == resource.RLIM_INFINITY else min(value, hard)
    resource.setrlimit(what, (value, value))


def _prctl(option: int, value: int) -> None:
    if ctypes.CDLL(None, use_errno=True).prctl(option, value, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), f"prctl {option} failed")


def _address_space() -> int:
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0])
    return pages * resource.getpagesize()
