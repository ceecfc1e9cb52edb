"""How the programs in this folder run."""

import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import atheris


def run(read: Callable[[bytes], None], write_seeds: Callable[[Path], None]) -> None:
    """Fuzz as the command line says; without a corpus folder, start from seeds.

    Args:
        read: Reads one input; whatever it raises is a finding.
        write_seeds: Writes files to start from into a folder.
    """
    with tempfile.TemporaryDirectory() as seeds:
        arguments = list(sys.argv)
        if not any(Path(argument).is_dir() for argument in arguments[1:]):
            write_seeds(Path(seeds))
            arguments.append(seeds)
        atheris.Setup(arguments, read)
        atheris.Fuzz()
