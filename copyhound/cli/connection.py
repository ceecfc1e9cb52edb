"""The options that every command which talks to a server has."""

from pathlib import Path
from typing import Annotated, TypeAlias

import typer

from copyhound.client import Client
from copyhound.transport import Tls

Server: TypeAlias = Annotated[
    str,
    typer.Option("--server", envvar="COPYHOUND_SERVER", metavar="HOST:PORT", help="The server to ask."),
]
ApiKey: TypeAlias = Annotated[
    str | None,
    typer.Option("--api-key", envvar="COPYHOUND_API_KEY", metavar="KEY", help="The key to ask with."),
]
UseTls: TypeAlias = Annotated[bool, typer.Option("--tls", help="Encrypt, and trust the usual authorities.")]
TlsCa: TypeAlias = Annotated[
    Path | None,
    typer.Option("--tls-ca", metavar="FILE", help="Encrypt, and trust the authorities in this PEM file."),
]
TlsCertificate: TypeAlias = Annotated[
    Path | None,
    typer.Option("--tls-certificate", metavar="FILE", help="This client's certificate chain (mTLS), PEM."),
]
TlsKey: TypeAlias = Annotated[
    Path | None, typer.Option("--tls-key", metavar="FILE", help="The certificate's private key, PEM.")
]
Timeout: TypeAlias = Annotated[
    float, typer.Option("--timeout", min=0.1, metavar="SECONDS", help="Longest time that one request takes.")
]
AsJson: TypeAlias = Annotated[
    bool, typer.Option("--json", help="Print one JSON object a line, for programs.")
]

DEFAULT_SERVER = "localhost:50051"
DEFAULT_TIMEOUT = 60.0


def connect(
    server: str,
    api_key: str | None,
    *,
    use_tls: bool,
    tls_ca: Path | None,
    tls_certificate: Path | None,
    tls_key: Path | None,
    timeout: float,
) -> Client:
    """Make the client that the options ask for.

    Raises:
        typer.BadParameter: If only one of certificate and key is given.
    """
    if (tls_certificate is None) != (tls_key is None):
        raise typer.BadParameter("--tls-certificate and --tls-key go together: give both or none")
    encrypted = use_tls or tls_ca is not None or tls_certificate is not None
    tls = Tls(tls_ca, tls_certificate, tls_key) if encrypted else None
    return Client(server, api_key=api_key, tls=tls, timeout=timeout)
