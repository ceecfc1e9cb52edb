"""The checks of the house. `nox` runs those that every change must pass; CI runs the same.

All of them use the tools of the environment that nox itself runs in: `make test` makes it.
"""

import os
import sys
from pathlib import Path

import nox

ROOT = Path(__file__).parent
BASELINE = "proto/baseline.binpb"
FUZZ_SECONDS = 60  # for each target, so that the session stays bounded

nox.needs_version = ">=2025.5"
nox.options.default_venv_backend = "none"
nox.options.sessions = ["lint", "types", "imports", "proto", "tests", "browser"]

# The tests start many processes: without its cache, Python would compile the house anew in each.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
os.environ["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"


@nox.session
def lint(session: nox.Session) -> None:
    """Check format and style. `nox -s lint -- --fix` repairs what can be repaired."""
    if "--fix" in session.posargs:
        session.run("ruff", "check", "--fix", ".")
        session.run("ruff", "format", ".")
        return
    session.run("ruff", "format", "--check", ".")
    session.run("ruff", "check", ".")


@nox.session
def types(session: nox.Session) -> None:
    """Check types, strictly."""
    session.run("mypy", "--num-workers", "2")


@nox.session
def imports(session: nox.Session) -> None:
    """Check which package imports which; the contracts stand in pyproject.toml."""
    session.run("lint-imports")


@nox.session
def proto(session: nox.Session) -> None:
    """Check the API contract: stubs up to date, style, nothing broken since the last release.

    `nox -s proto -- --release` makes the present contract the one that later changes must not break.
    """
    image = str(Path(session.create_tmp()) / "image.binpb")
    config = ["--config", "proto/buf.yaml"]
    session.run("python", "proto/generate.py", "--check")
    session.run("python", "proto/generate.py", "--image", image)
    session.run("buf", "lint", image, *config)
    if "--release" in session.posargs:
        session.run("buf", "build", image, "--exclude-source-info", "--output", BASELINE)
    session.run("buf", "breaking", image, "--against", BASELINE, *config)


@nox.session
def tests(session: nox.Session) -> None:
    """Run the tests, but for the slow ones and those in a browser, and show what those of the parts cover.

    `nox -s tests -- --cover-all` shows what the tests of whole services cover besides.
    """
    coverage = ["--cov", "--cov-report=term-missing:skip-covered"]
    session.run(
        "pytest",
        "-n",
        "4",
        "--dist",
        "worksteal",
        "-m",
        "not slow and not browser",
        *coverage,
        *session.posargs,
    )


@nox.session
def browser(session: nox.Session) -> None:
    """Run the tests of the pages in a browser, which npm brings the first time."""
    session.run("python", "-m", "tests.browser.bring")
    session.run("pytest", "-n", "2", "-m", "browser", "tests/browser", *session.posargs)


@nox.session
def docs(session: nox.Session) -> None:
    """Check the documentation alone: settings, errors, links, docstrings."""
    files = sorted(str(path) for path in (ROOT / "tests/unit").glob("test_docs_*.py"))
    session.run("pytest", "-q", "tests/unit/test_public_docstrings.py", *files)


@nox.session
def slow(session: nox.Session) -> None:
    """Run the tests that take minutes."""
    session.run("pytest", "-m", "slow", *session.posargs)


@nox.session
def fuzz(session: nox.Session) -> None:
    """Search for input that breaks something, for a bounded time.

    The property tests run with many more examples, then each program in tests/fuzz runs for FUZZ_SECONDS
    under atheris, which the extra `fuzz` installs.
    """
    session.run("pytest", "-q", "-n", "2", "tests/property", "--hypothesis-profile=fuzz", *session.posargs)
    for target in sorted((ROOT / "tests/fuzz").glob("fuzz_*.py")):
        session.run("python", str(target), f"-max_total_time={FUZZ_SECONDS}", "-rss_limit_mb=4096")


@nox.session
def bench(session: nox.Session) -> None:
    """Run every benchmark on little data, to show that it works. Real runs: see benchmarks/README.md."""
    scripts = sorted((ROOT / "benchmarks").glob("*/bench_*.py"))
    if not scripts:
        session.error("no benchmarks/*/bench_*.py found")
    session.run("python", "-m", "tests.browser.bring")
    for script in scripts:
        module = ".".join(script.relative_to(ROOT).with_suffix("").parts)
        session.run("python", "-m", module, "--smoke")
