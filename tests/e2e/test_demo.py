"""`copyhound demo` and the command line against a service in a process of its own."""

import json
import os
import random
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from benchmarks.quality import text_media
from copyhound import cli
from copyhound.demo import REGISTERED, STRANGERS, alterations, photographs
from copyhound.service_process import run_service, service_environment


@pytest.fixture(scope="module")
def target(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    scratch = tmp_path_factory.mktemp("service")
    with run_service(scratch / "data", scratch / "log") as address:
        yield address


@pytest.fixture
def originals(tmp_path: Path) -> Path:
    folder = tmp_path / "originals"
    folder.mkdir()
    for name in ("chelsea", "coins"):
        (folder / f"{name}.png").write_bytes(photographs(REGISTERED)[name].read_bytes())
    return folder


def lines(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]


def copyhound(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the command line in a process, in a folder that holds none of its packages."""
    return subprocess.run(
        [sys.executable, "-m", "copyhound", *arguments],
        env=service_environment(),
        capture_output=True,
        text=True,
        check=False,
        cwd=os.sep,
    )


def test_the_demo_finds_every_expected_copy_and_leaves_strangers_alone() -> None:
    run = copyhound("demo")
    assert run.returncode == 0, run.stdout + run.stderr
    copies = len(photographs(REGISTERED)) * sum(alteration.expected for alteration in alterations())
    others = len(photographs(STRANGERS)) * len(alterations())
    assert f"Copies found: {copies} of {copies}." in run.stdout
    assert f"False alarms: 0 of {others}." in run.stdout


def test_folders_are_registered_matched_and_left_alone(
    target: str, originals: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    register = ["register", str(originals), "--owner", "studio", "--server", target, "--json"]
    suspects = tmp_path / "suspects"
    suspects.mkdir()
    with Image.open(originals / "chelsea.png") as picture:
        picture.transpose(Image.Transpose.FLIP_LEFT_RIGHT).save(suspects / "copy.webp")
    (suspects / "other.jpg").write_bytes(photographs(STRANGERS)["flower"].read_bytes())
    (suspects / "notes.bin").write_bytes(bytes(range(256)))

    assert cli.run(register) == 0
    assert {line["status"] for line in lines(capsys.readouterr().out)} == {"registered"}
    assert cli.run(register) == 0
    assert {line["status"] for line in lines(capsys.readouterr().out)} == {"skipped"}

    assert cli.run(["match", str(suspects), "--server", target, "--json"]) == 1
    found = {Path(line["path"]).name: line for line in lines(capsys.readouterr().out)}
    copy = found["copy.webp"]["answer"]["matches"][0]
    assert (copy["external_id"], copy["action"]) == ("chelsea.png", "block")
    assert copy["regions"][0]["transform"] == "flip_horizontal"
    assert found["other.jpg"]["answer"]["action"] == "allow"
    assert found["notes.bin"]["error"]["reason"] == "MEDIA_UNSUPPORTED"

    pair = [str(suspects / "copy.webp"), str(originals / "chelsea.png")]
    assert cli.run(["compare", *pair, "--server", target]) == 0
    assert "whole picture, mirrored" in capsys.readouterr().out
    assert cli.run(["status", "--server", target, "--json"]) == 0
    (state,) = lines(capsys.readouterr().out)
    assert state["state"]["work_count"] == 2


def test_keys_are_made_listed_and_revoked(tmp_path: Path) -> None:
    data = ["--data", str(tmp_path / "data")]
    made = copyhound("keys", "create", *data, "--role", "owner", "--owner", "studio")
    assert made.returncode == 0, made.stderr
    secret = made.stdout.strip()
    listed = copyhound("keys", "list", *data).stdout
    assert "studio" in listed
    assert secret not in listed
    key_id = next(word for word in listed.split() if word in secret)
    assert copyhound("keys", "revoke", *data, key_id).returncode == 0
    assert copyhound("keys", "create", *data, "--role", "owner").returncode == 2


def test_where_a_passage_stands_is_told_in_characters(
    target: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = text_media.made_up("en", random.Random(2), works=1).strangers[0]
    book, suspect = tmp_path / "book.txt", tmp_path / "suspect.md"
    book.write_text(text, encoding="utf-8")
    suspect.write_text(text[1_000:2_000], encoding="utf-8")
    assert cli.run(["register", str(book), "--owner", "press", "--server", target]) == 0
    capsys.readouterr()
    assert cli.run(["match", str(suspect), "--server", target, "--json"]) == 0
    (line,) = lines(capsys.readouterr().out)
    (segment,) = line["answer"]["matches"][0]["segments"]
    assert segment["query_start"] < 40
    assert segment["work_start"] == pytest.approx(1_000, abs=40)
    assert segment["work_end"] == pytest.approx(2_000, abs=40)
    assert cli.run(["compare", str(suspect), str(book), "--server", target]) == 0
    assert "where        character " in capsys.readouterr().out
