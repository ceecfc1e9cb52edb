import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer.main

from copyhound.cli import app
from copyhound.cli.manifest import FIELDS

GUIDE = (Path(__file__).parents[3] / "docs/guides/cli.md").read_text(encoding="utf-8")
SHARED = "Talking to a server"


def sections() -> dict[str, str]:
    """Text below each heading of the second level."""
    parts = re.split(r"^## (.+)$", GUIDE, flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def commands(group: Any, path: str) -> Iterator[tuple[str, Any]]:
    for name, command in group.commands.items():
        full = f"{path} {name}"
        yield from commands(command, full) if hasattr(command, "commands") else [(full, command)]


COMMANDS = dict(commands(typer.main.get_command(app), "copyhound"))


def options(command: Any) -> set[str]:
    return {option for parameter in command.params for option in parameter.opts if option.startswith("--")}


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_and_option_is_documented(name: str) -> None:
    text = sections()[f"`{name}`"]
    known = options(COMMANDS[name])
    if "--server" in known:
        text += sections()[SHARED]
        assert f"`{name.removeprefix('copyhound ')}`" in sections()[SHARED]
    for option in known - {"--help"}:
        assert re.search(rf"`{option}\b", text) or f" {option} " in text, option


def test_no_option_is_documented_that_does_not_exist() -> None:
    known = {option for command in COMMANDS.values() for option in options(command)}
    assert set(re.findall(r"(?<![\w-])--[a-z][a-z-]*", GUIDE)) <= known | {"--version", "--help"}


def test_variables_statuses_and_manifest_fields_are_documented() -> None:
    variables = {
        parameter.envvar for command in COMMANDS.values() for parameter in command.params if parameter.envvar
    }
    assert variables == {
        "COPYHOUND_SERVER",
        "COPYHOUND_API_KEY",
        "COPYHOUND_CRAWLER_API_KEY",
        "COPYHOUND_CRAWLER_CONTACT",
    }
    for name in variables:
        assert f"`{name}`" in GUIDE
    for status in (0, 1, 2, 130):
        assert re.search(rf"^\| {status} \|", GUIDE, flags=re.MULTILINE)
    for field in FIELDS:
        assert f"| `{field}` |" in sections()["`copyhound register`"]
