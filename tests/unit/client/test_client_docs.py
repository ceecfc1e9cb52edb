import inspect
import re
from pathlib import Path

import pytest

import copyhound
from copyhound.errors import CopyhoundError

GUIDE = (Path(__file__).parents[3] / "docs/guides/client.md").read_text(encoding="utf-8")

METHODS = [name for name in vars(copyhound.Client) if not name.startswith("_")]


@pytest.mark.parametrize("name", copyhound.__all__)
def test_every_public_name_is_documented(name: str) -> None:
    assert re.search(rf"`(copyhound\.)?{name}\b", GUIDE)
    assert getattr(copyhound, name) is not None


@pytest.mark.parametrize("name", METHODS)
def test_every_method_is_documented_with_its_parameters(name: str) -> None:
    row = re.search(rf"^\| `{name}\((.*?)\)`", GUIDE, flags=re.MULTILINE)
    assert row
    documented = [part.lstrip("*") for part in row[1].split(", ") if part not in ("", "*")]
    parameters = inspect.signature(getattr(copyhound.AsyncClient, name)).parameters
    assert documented == [parameter for parameter in parameters if parameter != "self"]


def test_both_clients_have_the_same_methods() -> None:
    asynchronous = [name for name in dir(copyhound.AsyncClient) if not name.startswith("_")]
    assert sorted(asynchronous) == sorted(METHODS)


@pytest.mark.parametrize("option", copyhound.QueryOptions.__annotations__)
def test_every_query_option_is_documented(option: str) -> None:
    assert f"`{option}`" in GUIDE


@pytest.mark.parametrize("kind", CopyhoundError.__subclasses__(), ids=lambda kind: kind.__name__)
def test_every_reason_is_documented_with_its_error(kind: type[CopyhoundError]) -> None:
    (row,) = re.findall(rf"^\| `{kind.__name__}` \|.*$", GUIDE, flags=re.MULTILINE)
    assert f"`{kind.default_reason}`" in row


def test_every_public_name_says_what_it_is() -> None:
    for name in copyhound.__all__:
        assert name == "__version__" or inspect.getdoc(getattr(copyhound, name)), name
