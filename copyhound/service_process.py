"""How to run the service, which belongs to the same distribution, without importing it."""

import os
import sys
from collections.abc import Mapping
from pathlib import Path

import copyhound


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
