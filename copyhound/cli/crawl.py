"""``copyhound crawl``: runs the crawler, which this package does not import."""

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from copyhound.cli.output import FAILED, print_error
from copyhound.service_process import service_environment


def crawl(
    *,
    places: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[PLACE…]",
            help="URLs, or KIND=URL: page, domain, sitemap, feed, search, media; none: serve a service.",
        ),
    ] = None,
    data: Annotated[
        Path, typer.Option("--data", metavar="DIR", help="Folder of the crawler's state; made if missing.")
    ],
    contact: Annotated[
        str | None,
        typer.Option("--contact", metavar="TEXT", help="Who answers for the crawl: an address or a URL."),
    ] = None,
    service: Annotated[
        str | None,
        typer.Option("--service", metavar="HOST:PORT", help="The service to work for: localhost:50051."),
    ] = None,
    run: Annotated[
        str | None, typer.Option("--run", metavar="NAME", help="Work on this run alone, then end.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", metavar="DIR", help="With places: where captures go.")
    ] = None,
    depth: Annotated[
        int | None, typer.Option("--depth", min=0, max=100, help="With places: links away from one; 2.")
    ] = None,
    pages: Annotated[
        int | None, typer.Option("--pages", min=1, metavar="N", help="With places: most pages; 1000.")
    ] = None,
    number: Annotated[
        int | None,
        typer.Option("--number", min=0, metavar="N", help="With places: which visit; 0 is the first."),
    ] = None,
    leave_alone: Annotated[
        list[str] | None,
        typer.Option(
            "--leave-alone", metavar="PLACE", help="With places: host or beginning of URLs to avoid."
        ),
    ] = None,
    allow_address: Annotated[
        list[str] | None,
        typer.Option("--allow-address", metavar="RANGE", help="Connect to it although it is not public."),
    ] = None,
) -> None:
    """Crawl monitoring lists for a service, or some places into a folder."""
    given: dict[str, Sequence[object]] = {
        "--data": [data],
        "--contact": [contact],
        "--server": [service],
        "--run": [run],
        "--out": [out],
        "--depth": [depth],
        "--pages": [pages],
        "--number": [number],
        "--leave-alone": leave_alone or [],
        "--allow-address": allow_address or [],
    }
    only_places = {"--out", "--depth", "--pages", "--number", "--leave-alone"}
    wrong = ({"--server", "--run"} if places else only_places) & {n for n, v in given.items() if _given(v)}
    if wrong:
        name = min(wrong).replace("--server", "--service")
        raise typer.BadParameter(f"{name} goes {'without' if places else 'with'} places")
    if places and out is None:
        raise typer.BadParameter("say where captures go: --out DIR")
    options = [
        text for name, values in given.items() for v in values if v is not None for text in (name, str(v))
    ]
    command = ["places", *options, "--", *places] if places else ["run", *options]
    sys.stdout.flush()
    try:
        os.execve(  # noqa: S606  our own crawler, whose output, signals and status are ours
            sys.executable, [sys.executable, "-P", "-m", "crawler", *command], service_environment()
        )
    except OSError as error:
        print_error(f"the crawler cannot be started: {error.strerror}")
        raise typer.Exit(FAILED) from error


def _given(values: Sequence[object]) -> bool:
    """Whether an option was given."""
    return any(value is not None for value in values)
