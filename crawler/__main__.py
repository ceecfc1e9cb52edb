"""``python -m crawler``: crawl for a service, or into a folder. People use ``copyhound crawl``."""

import logging
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer
from pydantic import ValidationError

from copyhound.crawler_client import AsyncCrawlerClient
from copyhound.errors import CopyhoundError
from copyhound.transport import Tls
from crawler.addresses import read_networks
from crawler.guard import install_guarded_reactor
from crawler.handover import FolderHandover, Handover, again, folder_assignment
from crawler.run import CrawlerProcess, CrawlError, install_signal_handlers
from crawler.settings import CrawlerSettings

logger = logging.getLogger(__name__)

app = typer.Typer(add_completion=False, no_args_is_help=True, pretty_exceptions_enable=False)

_CALL_SECONDS = 600.0
"""Longest call: a large capture over a slow line."""

_Data = Annotated[Path, typer.Option("--data", help="Folder of the crawler's state.")]
_Contact = Annotated[str | None, typer.Option(help="Who answers for the crawl: an address or URL.")]
_Allow = Annotated[
    list[str] | None,
    typer.Option("--allow-address", help="Address or range to connect to although not public."),
]


@app.command("run")
def run_command(  # noqa: PLR0917  Typer reads parameters by name
    data: _Data,
    server: Annotated[str | None, typer.Option(help="HOST:PORT of the service.")] = None,
    run: Annotated[str, typer.Option(help="Work on this run alone, then end.")] = "",
    contact: _Contact = None,
    allow_address: _Allow = None,
    tls: Annotated[bool, typer.Option("--tls", help="Encrypt.")] = False,
    tls_ca: Annotated[Path | None, typer.Option(help="Authorities to trust, PEM.")] = None,
    tls_certificate: Annotated[Path | None, typer.Option(help="This crawler's certificate, PEM.")] = None,
    tls_key: Annotated[Path | None, typer.Option(help="Its private key, PEM.")] = None,
) -> None:
    """Crawl the runs of a service's monitoring lists until SIGTERM; with --run, one of them."""
    settings = _settings(data, server=server, contact=contact, allow_address=allow_address)
    encrypted = Tls(tls_ca, tls_certificate, tls_key) if tls or tls_ca or tls_certificate else None

    async def work(process: CrawlerProcess) -> bool:
        key = settings.api_key.get_secret_value() if settings.api_key else None
        async with AsyncCrawlerClient(
            settings.server, crawler=process.name, api_key=key, tls=encrypted, timeout=_CALL_SECONDS
        ) as client:
            if run:
                return await process.run_one(client, run)
            await process.run_forever(client)
            return True

    _execute(settings, work)


@app.command("places")
def places_command(  # noqa: PLR0917  as above
    places: Annotated[
        list[str], typer.Argument(help="URLs, or KIND=URL: page, domain, sitemap, feed, search, media.")
    ],
    data: _Data,
    out: Annotated[Path, typer.Option("--out", help="Folder that captures go to.")],
    leave_alone: Annotated[
        list[str] | None, typer.Option(help="Host or beginning of URLs to leave alone.")
    ] = None,
    depth: Annotated[int, typer.Option(min=0, max=100, help="Links away from a place.")] = 2,
    pages: Annotated[int, typer.Option(min=1, help="Most pages.")] = 1000,
    number: Annotated[int, typer.Option(min=0, help="0: the first run; higher: a later visit.")] = 0,
    contact: _Contact = None,
    allow_address: _Allow = None,
) -> None:
    """Crawl some places into a folder, without a service; repeated, it goes on where it was."""
    settings = _settings(data, contact=contact, allow_address=allow_address)
    try:
        assignment = folder_assignment(
            places, leave_alone=leave_alone or [], max_depth=depth, max_pages=pages
        )
    except ValueError as error:
        _fail(str(error), status=2)

    async def work(process: CrawlerProcess) -> bool:
        handover: Handover = FolderHandover(out, again(assignment, number) if number else assignment)
        return await process.run_one(handover)

    _execute(settings, work)


def _execute(settings: CrawlerSettings, work: Callable[[CrawlerProcess], Awaitable[bool]]) -> None:
    """Run in Twisted's reactor on asyncio; the exit status is 1 if something has to be put right."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    for noisy in ("scrapy", "twisted"):
        logging.getLogger(noisy).setLevel(logging.ERROR)
    loop = install_guarded_reactor(read_networks(settings.allow_address))
    from twisted.internet import reactor  # noqa: PLC0415  it was installed just now

    status = 0

    async def main() -> None:
        nonlocal status
        try:
            process = CrawlerProcess(settings)
        except CrawlError as error:
            status = _say(str(error))
            return
        install_signal_handlers(loop, process.stop)
        try:
            if not await work(process):
                status = _say("there is no such run, or it has ended")
        except (CrawlError, CopyhoundError) as error:
            status = _say(str(error))
        except Exception:
            status = 1
            logger.exception("the crawler ends: a fault of its own, which it should not have")
        finally:
            process.close()

    twisted: Any = reactor

    def begin() -> None:
        task = loop.create_task(main())
        task.add_done_callback(lambda done: (twisted.stop(), done.exception()))

    twisted.callWhenRunning(begin)
    twisted.run(installSignalHandlers=False)
    raise typer.Exit(status)


def _settings(data: Path, **given: object) -> CrawlerSettings:
    """Settings from the environment, the given ones first."""
    try:
        settings = CrawlerSettings(data=data, **{n: v for n, v in given.items() if v not in (None, [])})  # type: ignore[arg-type]
        read_networks(settings.allow_address)
    except ValidationError as error:
        first = error.errors()[0]
        name = "_".join(str(part) for part in first["loc"])
        advice = "; say who answers for the crawl: --contact" if name == "contact" else ""
        _fail(f"setting {name}: {first['msg']}{advice}; docs/guides/crawler.md describes it", status=2)
    except ValueError as error:
        _fail(f"--allow-address: {error}", status=2)
    return settings


def _say(message: str) -> int:
    typer.echo(f"copyhound: {message}", err=True)
    return 1


def _fail(message: str, *, status: int) -> NoReturn:
    _say(message)
    raise typer.Exit(status)


def main() -> None:
    """Run the command line."""
    app()


if __name__ == "__main__":
    main()
