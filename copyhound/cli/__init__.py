"""The command line. Exit status: 0 done, 1 some items failed, 2 wrong use, 130 interrupted."""

import gc
import os
import sys
from collections.abc import Sequence
from typing import Annotated

import typer

import copyhound
from copyhound.cli.cases import cases
from copyhound.cli.crawl import crawl
from copyhound.cli.demo import demo
from copyhound.cli.match import compare, match
from copyhound.cli.monitor import monitor
from copyhound.cli.output import FAILED, print_error, print_line
from copyhound.cli.references import references
from copyhound.cli.register import register
from copyhound.cli.reports import reports
from copyhound.cli.reviews import reviews
from copyhound.cli.server import keys, serve
from copyhound.cli.status import status
from copyhound.cli.verify import verify
from copyhound.errors import CopyhoundError, UnauthenticatedError

_INTERRUPTED = 130
"""What Typer makes of SIGINT, as shells do."""

app = typer.Typer(
    name="copyhound", add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None
)
app.command()(serve)
app.command()(register)
app.command()(match)
app.command()(compare)
app.command()(status)
app.command()(demo)
app.command()(crawl)
app.command()(verify)
app.add_typer(keys, name="keys")
app.add_typer(monitor, name="monitor")
app.add_typer(reports, name="reports")
app.add_typer(cases, name="cases")
app.add_typer(references, name="references")
app.add_typer(reviews, name="reviews")


def _version(wanted: bool) -> None:
    if wanted:
        print_line(copyhound.__version__)
        raise typer.Exit


@app.callback()
def _about(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    """Register works and find their copies: which, where, and how sure."""


def run(arguments: Sequence[str]) -> int:
    """Run a command line and return its exit status. Errors are one line each on standard error."""
    try:
        status = app(args=list(arguments) or ["--help"], standalone_mode=False)
        sys.stdout.flush()
    except typer.TyperException as error:
        print_error(f"{error.format_message().rstrip('.')}; --help shows how")
        return error.exit_code
    except UnauthenticatedError as error:
        print_error(f"{error}; here, --api-key or COPYHOUND_API_KEY takes it")
        return FAILED
    except CopyhoundError as error:
        print_error(str(error))
        return FAILED
    except BrokenPipeError:  # whoever read our output has enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FAILED
    if status == _INTERRUPTED:
        print_error("interrupted; the same command goes on where it was")
    return status if isinstance(status, int) else 0


def main() -> None:
    """Run the command line of this process."""
    gc.freeze()  # what was imported stays to the end: collections, three of them at the exit, need not look
    sys.exit(run(sys.argv[1:]))
