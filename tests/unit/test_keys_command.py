"""`keys create` and `keys rename`: owners and names."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from service.__main__ import app
from service.app import open_store
from service.settings import Settings


def create(data: Path, owner: str) -> tuple[int, str]:
    result = CliRunner().invoke(
        app, ["keys", "create", "--data", str(data), "--role", "owner", "--owner", owner]
    )
    return result.exit_code, result.output


def test_the_owner_is_stripped(tmp_path: Path) -> None:
    assert create(tmp_path, "  Ann Author ")[0] == 0
    store = open_store(Settings(data=tmp_path))
    try:
        assert [key.owner for key in store.list_keys()] == ["Ann Author"]
    finally:
        store.close()


@pytest.mark.parametrize("owner", ["", "   ", "x" * 129, "a\x00b", "a\x1bb"])
def test_an_owner_without_a_proper_name_gets_no_key(tmp_path: Path, owner: str) -> None:
    status, said = create(tmp_path, owner)
    assert status == 2
    assert said.startswith("copyhound: --owner: ")
    assert not list(tmp_path.iterdir())


def test_a_key_is_given_a_name(tmp_path: Path) -> None:
    def run(*arguments: str) -> tuple[int, str]:
        result = CliRunner().invoke(app, ["keys", arguments[0], "--data", str(tmp_path), *arguments[1:]])
        return result.exit_code, result.output

    status, text = run("create", "--role", "investigator", "--name", " Anna 安娜 ")
    assert status == 0
    key_id = text.split("_")[1]
    assert run("list")[1].rstrip().endswith("  Anna 安娜")
    assert run("rename", "--", key_id, "Bo")[1].rstrip().endswith("  Bo")
    for wrong in ("x" * 101, "a\x1b[2J"):
        assert run("rename", "--", key_id, wrong)[0] == 2
    assert run("rename", "--", "nobody", "Bo")[0] != 0
    assert run("list")[1].rstrip().endswith("  Bo")
