"""``copyhound demo``."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from copyhound.cli.output import FAILED, print_error, print_line
from copyhound.service_process import ServiceStartError


def demo(
    *,
    data: Annotated[
        Path | None,
        typer.Option("--data", metavar="DIR", help="Keep the service's folder here; else it is temporary."),
    ] = None,
) -> None:
    """Register real photographs on a service of its own, ask about altered copies, and show what it finds."""
    from copyhound.demo import DemoError, run_demo  # noqa: PLC0415  Pillow is slow to import

    def say(line: str) -> None:
        print_line(line)
        sys.stdout.flush()

    try:
        right = run_demo(data, say)
    except (DemoError, ServiceStartError) as error:
        print_error(str(error))
        raise typer.Exit(FAILED) from error
    if not right:
        raise typer.Exit(FAILED)
