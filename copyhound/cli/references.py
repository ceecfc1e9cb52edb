"""``copyhound references``: which of them flood the queue, and what is done about it."""

from typing import Annotated

import typer

from copyhound.cli.connection import (
    DEFAULT_SERVER,
    DEFAULT_TIMEOUT,
    ApiKey,
    AsJson,
    Server,
    Timeout,
    TlsCa,
    TlsCertificate,
    TlsKey,
    UseTls,
    connect,
)
from copyhound.cli.output import print_json, print_line, print_table

references = typer.Typer(help="References and works that bring wrong matches, and keeping these back.")

Name = Annotated[
    str, typer.Argument(metavar="NAME", help="works/…/references/…, or works/… for all of a work.")
]
Note = Annotated[str, typer.Option("--note", metavar="TEXT", help="For people.")]


@references.command("flagged")
def flagged(
    *,
    as_json: AsJson = False,
    server: Server = DEFAULT_SERVER,
    api_key: ApiKey = None,
    use_tls: UseTls = False,
    tls_ca: TlsCa = None,
    tls_certificate: TlsCertificate = None,
    tls_key: TlsKey = None,
    timeout: Timeout = DEFAULT_TIMEOUT,
) -> None:
    """Show the references and works that flood the queue with wrong matches, the worst first."""
    with connect(
        server,
        api_key,
        use_tls=use_tls,
        tls_ca=tls_ca,
        tls_certificate=tls_certificate,
        tls_key=tls_key,
        timeout=timeout,
    ) as client:
        found = client.flagged()
    if as_json:
        for one in found:
            print_json({"flagged": one})
        return
    print_table(
        ("name", "title", "file", "wrong", "right", "wrong at least"),
        [
            (
                one.name,
                one.title,
                one.filename or "-",
                f"{one.wrong:,}",
                f"{one.right:,}",
                f"{one.wrong_at_least:.0%}",
            )
            for one in found
        ],
    )


@references.command("suppressed")
def suppressed(
    *,
    as_json: AsJson = False,
    server: Server = DEFAULT_SERVER,
    api_key: ApiKey = None,
    use_tls: UseTls = False,
    tls_ca: TlsCa = None,
    tls_certificate: TlsCertificate = None,
    tls_key: TlsKey = None,
    timeout: Timeout = DEFAULT_TIMEOUT,
) -> None:
    """Show the references and works whose matches are kept back, newest first."""
    with connect(
        server,
        api_key,
        use_tls=use_tls,
        tls_ca=tls_ca,
        tls_certificate=tls_certificate,
        tls_key=tls_key,
        timeout=timeout,
    ) as client:
        found = client.suppressions()
    if as_json:
        for one in found:
            print_json({"suppression": one})
        return
    print_table(
        ("name", "title", "file", "since", "by", "note"),
        [
            (
                one.name,
                one.title,
                one.filename or "-",
                one.created_at.strftime("%Y-%m-%d %H:%M"),
                one.actor,
                one.note,
            )
            for one in found
        ],
    )


@references.command("suppress")
def suppress(
    name: Name,
    *,
    note: Note = "",
    as_json: AsJson = False,
    server: Server = DEFAULT_SERVER,
    api_key: ApiKey = None,
    use_tls: UseTls = False,
    tls_ca: TlsCa = None,
    tls_certificate: TlsCertificate = None,
    tls_key: TlsKey = None,
    timeout: Timeout = DEFAULT_TIMEOUT,
) -> None:
    """Keep the matches of a reference, or of a work, back: no reports, and no answer above review."""
    with connect(
        server,
        api_key,
        use_tls=use_tls,
        tls_ca=tls_ca,
        tls_certificate=tls_certificate,
        tls_key=tls_key,
        timeout=timeout,
    ) as client:
        made = client.suppress(name, note=note)
    if as_json:
        print_json({"suppression": made})
    else:
        print_line(f"{made.name} is suppressed; undo with: references unsuppress {made.name}")


@references.command("unsuppress")
def unsuppress(
    name: Name,
    *,
    note: Note = "",
    server: Server = DEFAULT_SERVER,
    api_key: ApiKey = None,
    use_tls: UseTls = False,
    tls_ca: TlsCa = None,
    tls_certificate: TlsCertificate = None,
    tls_key: TlsKey = None,
    timeout: Timeout = DEFAULT_TIMEOUT,
) -> None:
    """Let the matches of a reference, or of a work, count again."""
    with connect(
        server,
        api_key,
        use_tls=use_tls,
        tls_ca=tls_ca,
        tls_certificate=tls_certificate,
        tls_key=tls_key,
        timeout=timeout,
    ) as client:
        client.unsuppress(name, note=note)
    print_line(f"{name} counts again")
