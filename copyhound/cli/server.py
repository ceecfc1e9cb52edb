"""``copyhound serve`` and ``copyhound keys``: both run the service, which this package does not import."""

import os
import sys
from pathlib import Path
from typing import Annotated, TypeAlias

import typer

from copyhound.service_process import service_command, service_environment

Data: TypeAlias = Annotated[
    Path, typer.Option("--data", metavar="DIR", help="Folder that holds everything; made if missing.")
]

keys = typer.Typer(help="Keys for a server's folder; it may be running.")


def serve(
    *,
    data: Data,
    listen: Annotated[
        str | None,
        typer.Option(
            "--listen", metavar="HOST:PORT", help="Where to listen: 127.0.0.1:50051; port 0: any free one."
        ),
    ] = None,
    web: Annotated[
        str | None,
        typer.Option("--web", metavar="HOST:PORT", help="Where to show the investigators' pages."),
    ] = None,
    metrics: Annotated[
        str | None, typer.Option("--metrics", metavar="HOST:PORT", help="Where to show Prometheus metrics.")
    ] = None,
    allow_anonymous: Annotated[
        bool, typer.Option("--allow-anonymous", help="Ask for no key; on loopback addresses only.")
    ] = False,
    import_root: Annotated[
        Path | None, typer.Option("--import-root", metavar="DIR", help="Folder that imports may read.")
    ] = None,
    tls_certificate: Annotated[
        Path | None, typer.Option("--tls-certificate", metavar="FILE", help="Certificate chain, PEM.")
    ] = None,
    tls_key: Annotated[
        Path | None, typer.Option("--tls-key", metavar="FILE", help="The certificate's private key, PEM.")
    ] = None,
    tls_client_ca: Annotated[
        Path | None,
        typer.Option("--tls-client-ca", metavar="FILE", help="Ask clients for certificates of this CA, PEM."),
    ] = None,
    json_logs: Annotated[bool, typer.Option("--json-logs", help="Log one JSON object a line.")] = False,
) -> None:
    """Run the server on one folder until it is told to stop."""
    _become(
        "serve",
        *_given("--data", data),
        *_given("--listen", listen),
        *_given("--web", web),
        *_given("--metrics", metrics),
        *_given("--import-root", import_root),
        *_given("--tls-certificate", tls_certificate),
        *_given("--tls-key", tls_key),
        *_given("--tls-client-ca", tls_client_ca),
        *(["--allow-anonymous"] if allow_anonymous else []),
        *(["--json-logs"] if json_logs else []),
    )


@keys.command("create")
def create(
    *,
    data: Data,
    role: Annotated[
        str, typer.Option("--role", metavar="ROLE", help="owner, platform, investigator, crawler or admin.")
    ],
    owner: Annotated[
        str | None, typer.Option("--owner", metavar="NAME", help="For role owner: whose works.")
    ] = None,
    requests_per_minute: Annotated[
        int, typer.Option("--requests-per-minute", min=0, metavar="N", help="Quota; 0: none.")
    ] = 0,
    bytes_per_minute: Annotated[
        int, typer.Option("--bytes-per-minute", min=0, metavar="N", help="Quota of media bytes; 0: none.")
    ] = 0,
    name: Annotated[
        str, typer.Option("--name", metavar="NAME", help="Who has it, as reviewers and reports tell it.")
    ] = "",
) -> None:
    """Make a key and print it, once: it cannot be shown again."""
    _become(
        "keys",
        "create",
        *_given("--data", data),
        *_given("--role", role),
        *_given("--owner", owner),
        *_given("--requests-per-minute", requests_per_minute or None),
        *_given("--bytes-per-minute", bytes_per_minute or None),
        *_given("--name", name or None),
    )


@keys.command("list")
def list_keys(data: Data) -> None:
    """List the keys, without their secrets."""
    _become("keys", "list", *_given("--data", data))


@keys.command("rename")
def rename(
    data: Data,
    key_id: Annotated[str, typer.Argument(metavar="KEY_ID", help="As `keys list` shows it.")],
    name: Annotated[str, typer.Argument(metavar="NAME", help="Who has it; empty: nobody in particular.")],
) -> None:
    """Say who has a key: decisions and events that were made with it show the name, earlier ones too."""
    _become("keys", "rename", *_given("--data", data), "--", key_id, name)


@keys.command("revoke")
def revoke(
    data: Data, key_id: Annotated[str, typer.Argument(metavar="KEY_ID", help="As `keys list` shows it.")]
) -> None:
    """End a key: within five seconds, no request with it is answered."""
    _become("keys", "revoke", *_given("--data", data), key_id)


def _given(option: str, value: object | None) -> list[str]:
    """Return an option and its value; nothing where there is none."""
    return [] if value is None else [option, str(value)]


def _become(*arguments: str) -> None:
    """Replace this process by the service's, so that its output, signals and status are ours."""
    sys.stdout.flush()
    os.execve(sys.executable, service_command(*arguments), service_environment())  # noqa: S606
