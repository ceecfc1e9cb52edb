"""Every public name of the four packages says what it is."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
MODULES = sorted(
    path.relative_to(ROOT)
    for package in ("copyhound", "indexers", "crawler", "service")
    for path in (ROOT / package).rglob("*.py")
    if not path.is_relative_to(ROOT / "copyhound/v1") and "migrations" not in path.parts
)
Documentable = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef


def public_names(node: Documentable, name: str) -> Iterator[tuple[str, Documentable]]:
    """The node and the public classes, functions and methods inside it."""
    yield name, node
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
        return  # what is inside a function is not public
    for child in node.body:
        if isinstance(child, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            if child.name.startswith("_") or is_overload(child):
                continue
            yield from public_names(child, f"{name}.{child.name}")


def is_overload(node: ast.AST) -> bool:
    """Whether a function only declares one signature of the one below, or sets a property."""
    decorators = [ast.unparse(decorator) for decorator in getattr(node, "decorator_list", [])]
    return any(d in {"overload", "typing.overload", "override"} or d.endswith(".setter") for d in decorators)


@pytest.mark.parametrize("module", MODULES, ids=str)
def test_public_names_have_docstrings(module: Path) -> None:
    tree = ast.parse((ROOT / module).read_text())
    dotted = ".".join(module.with_suffix("").parts)
    missing = [name for name, node in public_names(tree, dotted) if not ast.get_docstring(node)]
    assert not missing, f"without a docstring: {', '.join(missing)}"


@pytest.mark.parametrize("module", MODULES, ids=str)
def test_what_all_exports_exists(module: Path) -> None:
    """A name in __all__ is defined or imported in the module, once."""
    tree = ast.parse((ROOT / module).read_text())
    exported = [
        ast.literal_eval(node.value)
        for node in tree.body
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__"
    ]
    names = exported[0] if exported else []
    assert len(names) == len(set(names))
    assert set(names) <= top_level_names(tree)


def top_level_names(tree: ast.Module) -> set[str]:
    """What a module defines or imports."""
    names: set[str] = set()
    for node in tree.body:
        match node:
            case ast.ClassDef(name=name) | ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name):
                names.add(name)
            case ast.Import(names=aliases) | ast.ImportFrom(names=aliases):
                names.update(alias.asname or alias.name.partition(".")[0] for alias in aliases)
            case ast.Assign(targets=targets):
                names.update(ast.unparse(target) for target in targets)
            case ast.AnnAssign(target=target):
                names.add(ast.unparse(target))
            case _:
                pass
    return names
