"""``python -m service``: run the server, and keep its keys. People use ``copyhound serve`` and ``keys``."""

import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, NoReturn

import typer
import uvloop
from pydantic import ValidationError

from service import logs
from service.app import open_store, serve
from service.domain import ApiKey, KeyRole
from service.errors import InvalidRequestError, ServiceError
from service.keys import new_key, read_name
from service.rpc.convert import read_owner
from service.settings import Settings

app = typer.Typer(add_completion=False, no_args_is_help=True, pretty_exceptions_enable=False)
keys = typer.Typer(no_args_is_help=True)
app.add_typer(keys, name="keys")

_Data = Annotated[Path, typer.Option("--data", help="Folder that holds everything.")]


@app.command("serve")
def serve_command(
    data: _Data,
    listen: Annotated[str | None, typer.Option(help="HOST:PORT; port 0: any free one.")] = None,
    web: Annotated[str | None, typer.Option(help="HOST:PORT of the pages.")] = None,
    metrics: Annotated[str | None, typer.Option(help="HOST:PORT of the metrics.")] = None,
    import_root: Annotated[Path | None, typer.Option(help="Folder that imports read.")] = None,
    tls_certificate: Annotated[Path | None, typer.Option()] = None,
    tls_key: Annotated[Path | None, typer.Option()] = None,
    tls_client_ca: Annotated[Path | None, typer.Option()] = None,
    allow_anonymous: Annotated[bool | None, typer.Option("--allow-anonymous")] = None,
    json_logs: Annotated[bool, typer.Option("--json-logs")] = False,
) -> None:
    """Run the server until SIGTERM or SIGINT."""
    logs.configure(json_lines=json_logs)
    given: dict[str, object] = {
        "listen": listen,
        "web": web,
        "metrics": metrics,
        "import_root": import_root,
        "tls_certificate": tls_certificate,
        "tls_key": tls_key,
        "tls_client_ca": tls_client_ca,
        "allow_anonymous": allow_anonymous or None,
    }
    uvloop.run(serve(_settings(data, given)))


@keys.command("create")
def create_command(
    data: _Data,
    role: Annotated[KeyRole, typer.Option()],
    owner: Annotated[str | None, typer.Option(help="For role owner: whose works.")] = None,
    requests_per_minute: Annotated[int, typer.Option(min=0, help="0: no quota.")] = 0,
    bytes_per_minute: Annotated[int, typer.Option(min=0, help="0: no quota.")] = 0,
    name: Annotated[str, typer.Option(help="Who has it.")] = "",
) -> None:
    """Make a key and print it, this once."""
    if (role is KeyRole.OWNER) != (owner is not None):
        _fail("a key of role owner, and no other, needs --owner NAME", status=2)
    if owner is not None:
        try:
            owner = read_owner(owner, "--owner")
        except InvalidRequestError as error:
            _fail(str(error), status=2)
    key, text = new_key(role, owner, requests_per_minute, bytes_per_minute, _named(name))
    store = open_store(_settings(data, {}))
    try:
        store.create_key(key)
    finally:
        store.close()
    typer.echo(text)


@keys.command("list")
def list_command(data: _Data) -> None:
    """List the keys, without their secrets."""
    store = open_store(_settings(data, {}))
    try:
        for key in store.list_keys():
            typer.echo(_line(key))
    finally:
        store.close()


@keys.command("revoke")
def revoke_command(data: _Data, key_id: Annotated[str, typer.Argument()]) -> None:
    """Revoke a key; a running server refuses it within five seconds."""
    store = open_store(_settings(data, {}))
    try:
        typer.echo(_line(store.revoke_key(key_id, datetime.now(UTC))))
    finally:
        store.close()


@keys.command("rename")
def rename_command(
    data: _Data, key_id: Annotated[str, typer.Argument()], name: Annotated[str, typer.Argument()]
) -> None:
    """Say who has a key; an empty name: nobody in particular."""
    store = open_store(_settings(data, {}))
    try:
        typer.echo(_line(store.rename_key(key_id, _named(name))))
    finally:
        store.close()


def _named(name: str) -> str:
    try:
        return read_name(name)
    except InvalidRequestError as error:
        _fail(str(error), status=2)


def _line(key: ApiKey) -> str:
    state = "valid" if key.revoked_at is None else f"revoked {key.revoked_at:%Y-%m-%d %H:%M}"
    return (
        f"{key.id}  {key.role}  {key.owner or '-'}  {key.requests_per_minute} requests/min  "
        f"{key.bytes_per_minute} bytes/min  {state}"
        f"{'  ' + key.name if key.name else ''}"
    )


def _settings(data: Path, given: dict[str, object]) -> Settings:
    """Settings from the environment, the given ones first."""
    try:
        return Settings(data=data, **{name: v for name, v in given.items() if v is not None})  # type: ignore[arg-type]
    except ValidationError as error:
        first = error.errors()[0]
        name = "_".join(str(part) for part in first["loc"])
        _fail(f"setting {name}: {first['msg']}; docs/guides/settings.md describes it", status=2)


def _fail(message: str, *, status: int) -> NoReturn:
    typer.echo(f"copyhound: {message}", err=True)
    raise typer.Exit(status)


def main() -> None:
    """Run the command line; a service error is one line and status 1."""
    try:
        app()
    except ServiceError as error:
        typer.echo(f"copyhound: {error}", err=True)
        sys.exit(1)


if __name__ == "__main__":
    main()
