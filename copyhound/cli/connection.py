"""The options that every command which talks to a server has."""

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from inspect import Parameter
from pathlib import Path
from typing import Annotated, Any, Concatenate, ParamSpec, TypeAlias, TypeVar

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
    float | None,
    typer.Option(
        "--timeout",
        min=0.1,
        metavar="SECONDS",
        help="Longest time that one request takes; left out: 60, and 10 more for each MiB of media.",
    ),
]
AsJson: TypeAlias = Annotated[
    bool, typer.Option("--json", help="Print one JSON object a line, for programs.")
]

P = ParamSpec("P")
R = TypeVar("R")


@dataclass(frozen=True, slots=True)
class Connection:
    """How to reach a server, as the options say it."""

    server: Server = "localhost:50051"
    api_key: ApiKey = None
    use_tls: UseTls = False
    tls_ca: TlsCa = None
    tls_certificate: TlsCertificate = None
    tls_key: TlsKey = None
    timeout: Timeout = None

    def client(self) -> Client:
        """Make the client that the options ask for.

        Raises:
            typer.BadParameter: If only one of certificate and key is given.
        """
        if (self.tls_certificate is None) != (self.tls_key is None):
            raise typer.BadParameter("--tls-certificate and --tls-key go together: give both or none")
        encrypted = self.use_tls or self.tls_ca is not None or self.tls_certificate is not None
        tls = Tls(self.tls_ca, self.tls_certificate, self.tls_key) if encrypted else None
        return Client(self.server, api_key=self.api_key, tls=tls, timeout=self.timeout)


def connects(command: Callable[Concatenate[Connection, P], R]) -> Callable[..., R]:
    """Give a command the options that say how to reach a server; it is called with what they say.

    Args:
        command: Takes a `Connection` first; its other parameters are as Typer wants them.
    """
    options = [
        parameter.replace(kind=Parameter.KEYWORD_ONLY)
        for parameter in inspect.signature(Connection, eval_str=True).parameters.values()
    ]
    own = inspect.signature(command, eval_str=True)
    parameters = [*list(own.parameters.values())[1:], *options]

    def with_options(*arguments: Any, **named: Any) -> R:
        connection = Connection(**{option.name: named.pop(option.name) for option in options})
        return command(connection, *arguments, **named)

    with_options.__name__ = command.__name__
    with_options.__doc__ = command.__doc__
    with_options.__annotations__ = {one.name: one.annotation for one in parameters}
    with_options.__signature__ = own.replace(parameters=parameters)  # type: ignore[attr-defined]  # Typer reads it
    return with_options
