"""How to run the service, which belongs to the same distribution, without importing it."""

import os
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import copyhound

_START_SECONDS: Final = 300.0
"""How long to wait for a service that runs and says nothing; on a busy machine, starting takes a minute."""

_STOP_SECONDS: Final = 15.0


class ServiceStartError(Exception):
    """The service did not start."""


def service_command(*arguments: str) -> list[str]:
    """Return the command line of ``python -m service`` with the arguments.

    ``-P`` keeps a folder called `service` in the current folder from being run instead.
    """
    return [sys.executable, "-P", "-m", "service", *arguments]


def service_environment() -> Mapping[str, str]:
    """Return this process's environment, with the folder that holds both packages on Python's path.

    gRPC's own lines on standard error are off unless GRPC_VERBOSITY is set: the service says what they say.
    """
    root = str(Path(copyhound.__file__).parent.parent)
    inherited = os.environ.get("PYTHONPATH")
    path = os.pathsep.join([root, inherited] if inherited else [root])
    return {"GRPC_VERBOSITY": "NONE", **os.environ, "PYTHONPATH": path}


@contextmanager
def run_service(folder: Path, log: Path) -> Iterator[str]:
    """Run a service without keys on a free loopback port for as long as the context lasts.

    Args:
        folder: Its data.
        log: Where its log goes.

    Yields:
        Its address.

    Raises:
        ServiceStartError: If it ends or does not answer in time.
    """
    command = service_command("serve", "--data", str(folder), "--listen", "127.0.0.1:0", "--allow-anonymous")
    with (
        log.open("wb") as errors,
        subprocess.Popen(  # noqa: S603  our own service
            command, env=service_environment(), stdout=subprocess.PIPE, stderr=errors, text=True
        ) as process,
    ):
        try:
            yield _address(process, log)
        finally:
            process.terminate()
            try:
                process.wait(_STOP_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()


def _address(process: subprocess.Popen[str], log: Path) -> str:
    """Wait for the line that says where the service listens."""
    timer = threading.Timer(_START_SECONDS, process.kill)
    timer.start()
    try:
        for line in process.stdout or ():
            if line.startswith("listening on "):
                return line.removeprefix("listening on ").strip()
    finally:
        timer.cancel()
    last = log.read_text(errors="replace").strip().splitlines()[-1:] or ["it says nothing"]
    raise ServiceStartError(f"the service did not start: {last[0]}")
