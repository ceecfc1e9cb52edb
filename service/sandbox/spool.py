"""Files that hold bytes from memory, so that they can be handed to another process."""

import fcntl
import os
import tempfile
from typing import BinaryIO


def spool(content: bytes) -> BinaryIO:
    """Return an anonymous file that holds the bytes, in memory where the system has such files.

    On Linux it can no longer be changed.
    """
    if not hasattr(os, "memfd_create"):
        file = tempfile.TemporaryFile()  # noqa: SIM115 - the caller closes it
        file.write(content)
        file.seek(0)
        return file
    descriptor = os.memfd_create("media", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    memory = os.fdopen(descriptor, "w+b", buffering=0)
    remaining = memoryview(content)
    while remaining:
        remaining = remaining[memory.write(remaining) :]
    seals = fcntl.F_SEAL_WRITE | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_SEAL
    fcntl.fcntl(descriptor, fcntl.F_ADD_SEALS, seals)
    memory.seek(0)
    return memory
