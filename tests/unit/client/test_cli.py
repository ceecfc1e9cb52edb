import io
import json
import os
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest
from google.rpc import code_pb2

import copyhound
from copyhound import cli
from copyhound.cli.register import UnderWay
from copyhound.v1 import work_pb2


@pytest.fixture(autouse=True)
def no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("COPYHOUND_SERVER", "COPYHOUND_API_KEY"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    root = tmp_path / "pictures"
    (root / "more").mkdir(parents=True)
    (root / "a.png").write_bytes(b"aaaa")
    (root / "more" / "b.jpg").write_bytes(b"bbbb")
    (root / ".hidden").write_bytes(b"hhhh")
    return root


@pytest.fixture
def executed(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """Command lines that replaced the process."""
    commands: list[list[str]] = []
    monkeypatch.setattr(os, "execve", lambda _path, command, _environment: commands.append(command))
    return commands


def lines(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]


def register(server: Any, *arguments: str | Path) -> int:
    return cli.run(["register", *map(str, arguments), "--owner", "studio", "--server", server.target])


def test_a_folder_is_registered_with_all_below(
    server: Any, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert register(server, folder) == 0
    assert {work.external_id for work in server.works.values()} == {"a.png", "more/b.jpg"}
    captured = capsys.readouterr()
    assert [line.split() for line in captured.out.splitlines()] == [
        ["registered", work.name, work.external_id] for work in server.works.values()
    ]
    assert "2 registered, 0 already there, 0 failed; 1 left out" in captured.err


def test_no_previews_are_kept_where_none_are_wanted(server: Any, folder: Path, tmp_path: Path) -> None:
    assert register(server, folder / "a.png") == 0
    manifest = tmp_path / "works.csv"
    manifest.write_text(f"path,external_id,action\n{folder / 'more/b.jpg'},b,review\n")
    assert register(server, folder / "a.png", "--prefix", "x/", "--manifest", manifest, "--no-previews") == 0
    policies = {work.external_id: work.policy for work in server.works.values()}
    assert {name: policy.no_previews for name, policy in policies.items()} == {
        "a.png": False,
        "x/a.png": True,
        "b": True,
    }
    assert policies["b"].action == work_pb2.ACTION_REVIEW


def test_registering_again_skips_what_is_there(
    server: Any, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    register(server, folder, "--json")
    first = lines(capsys.readouterr().out)
    assert register(server, folder, "--json") == 0
    again = lines(capsys.readouterr().out)
    assert {line["status"] for line in first} == {"registered"}
    assert {line["status"] for line in again} == {"skipped"}
    assert {line["work"] for line in again} == {line["work"] for line in first}


def test_a_changed_file_is_added_to_its_work(
    server: Any, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    register(server, folder)
    (folder / "a.png").write_bytes(b"AAAA")
    capsys.readouterr()
    assert register(server, folder) == 0
    captured = capsys.readouterr()
    assert "added" in captured.out
    assert "1 added to works" in captured.err
    assert len(server.works) == 2


def test_a_prefix_keeps_folders_apart(server: Any, folder: Path) -> None:
    assert register(server, folder / "a.png", "--prefix", "spring/") == 0
    assert [work.external_id for work in server.works.values()] == ["spring/a.png"]


def test_one_bad_file_is_one_line_and_the_others_go_on(
    server: Any, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "c.png").write_bytes(b"bad")
    assert register(server, folder, folder / "absent.png") == 1
    captured = capsys.readouterr()
    assert len(captured.out.splitlines()) == len(server.works) == 2
    assert "2 registered, 0 already there, 2 failed" in captured.err
    assert f"{folder / 'c.png'}: the media is damaged" in captured.err
    assert f"{folder / 'absent.png'}: No such file" in captured.err
    assert len(captured.err.splitlines()) == 3


def test_failures_are_json_for_programs(
    server: Any, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "c.png").write_bytes(b"bad")
    assert register(server, folder / "c.png", "--json") == 1
    (line,) = lines(capsys.readouterr().out)
    assert line["status"] == "failed"
    assert line["error"] == {"reason": "MEDIA_DAMAGED", "message": "the media is damaged"}


def test_a_manifest_with_ten_bad_rows_registers_the_others(
    server: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = ["path,owner,external_id,min_probability"]
    for i in range(1000):
        (tmp_path / f"{i}.png").write_bytes(b"%04d" % i)
        rows.append(f"{i}.png,studio,{i},{'much' if i % 100 == 50 else ''}")
    manifest = tmp_path / "works.csv"
    manifest.write_text("\n".join(rows))
    command = ["register", "--manifest", str(manifest), "--json", "--server", server.target]
    assert cli.run(command) == 1
    printed = lines(capsys.readouterr().out)
    failed = [line for line in printed if line["status"] == "failed"]
    assert [(line["row"], line["field"]) for line in failed] == [
        (i + 2, "min_probability") for i in range(50, 1000, 100)
    ]
    assert len(server.works) == 990
    assert all(line["row"] == int(line["external_id"]) + 2 for line in printed if line not in failed)


def test_a_server_error_of_a_row_names_the_row(
    server: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "a.png").write_bytes(b"bad")
    manifest = tmp_path / "works.csv"
    manifest.write_text("path,owner\na.png,studio\n")
    assert cli.run(["register", "--manifest", str(manifest), "--server", server.target]) == 1
    assert "row 2: " in capsys.readouterr().err


def test_a_match_is_shown_with_its_place(
    server: Any, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    register(server, folder)
    (folder / "other.png").write_bytes(b"other")
    capsys.readouterr()
    assert cli.run(["match", str(folder), "--server", server.target]) == 0
    header, *rows = capsys.readouterr().out.splitlines()
    assert header.split() == ["file", "action", "probability", "work", "where"]
    assert rows[0].split() == [
        *(str(folder / "a.png"), "block", "97", "%", "a.png", "a.png", "whole", "picture,", "mirrored")
    ]
    assert rows[1].split() == [str(folder / "other.png"), "allow", "-", "-", "-"]


def test_what_is_under_way_is_told_in_words() -> None:
    film, game = copyhound.NewWork("film.mp4", "studio"), copyhound.NewWork("game.zip", "studio")
    under_way = UnderWay({id(film): "films/film.mp4", id(game): "game.zip"})
    assert under_way.first() == ""
    under_way.told(film, copyhound.UploadProgress(3 * 2**20))
    under_way.told(game, copyhound.UploadProgress(9, 0, 20, 1234))
    assert under_way.first() == "film.mp4: 3 MiB sent"
    under_way.told(film, copyhound.UploadProgress(3 * 2**20, 3723.4))
    assert under_way.first() == "film.mp4: 1:02:03 read"
    under_way.ended(film)
    assert under_way.first() == "game.zip: 20 of 1,234 parts read"


def test_what_of_a_work_could_not_be_read_is_told(
    server: Any, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "late.mp4").write_bytes(b"late")
    assert register(server, folder) == 0
    captured = capsys.readouterr()
    assert f"copyhound: {folder / 'late.mp4'}: 2.0 to 3.5 s could not be read" in captured.err
    assert register(server, folder, "--json") == 0
    printed = {Path(line["path"]).name: line for line in lines(capsys.readouterr().out)}
    assert [printed[name].get("lost") for name in ("a.png", "late.mp4")] == [None, [[2.0, 3.5]]]


def test_a_partial_answer_says_so(server: Any, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "late.png").write_bytes(b"late")
    assert cli.run(["match", str(folder), "--server", server.target]) == 0
    captured = capsys.readouterr()
    place = f"copyhound: {folder / 'late.png'}: "
    (line,) = [line for line in captured.err.splitlines() if line.startswith("copyhound: " + str(folder))]
    assert line.startswith(f"{place}partial answer: DEADLINE: no time for tiles; ")
    assert "--timeout" in line
    assert str(folder / "late.png") in captured.out


def test_answers_are_json_for_programs(server: Any, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    register(server, folder)
    (folder / "c.png").write_bytes(b"bad")
    capsys.readouterr()
    arguments = ["--json", "--min-probability", "0", "--page-size", "3", "--territory", "CN"]
    assert cli.run(["match", str(folder), *arguments, "--server", server.target]) == 1
    printed = {Path(line["path"]).name: line for line in lines(capsys.readouterr().out)}
    assert printed["c.png"]["error"]["reason"] == "MEDIA_DAMAGED"
    answer = printed["a.png"]["answer"]
    assert answer["action"] == "block"
    assert answer["matches"][0]["regions"][0]["transform"] == "flip_horizontal"
    assert len(answer["sha256"]) == 64
    options = server.named("Match")[0].options
    assert (options.min_probability, options.page_size, list(options.territories)) == (0, 3, ["CN"])


def test_a_comparison_explains(server: Any, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["compare", str(folder / "a.png"), str(folder / "more/b.jpg"), "--server", server.target]
    assert cli.run(arguments) == 0
    text = capsys.readouterr().out
    assert "97 %" in text
    assert "0:00-0:02 is 1:00-1:04 of the work, at 2x speed" in text
    assert "PDQ hashes differ in 4 of 256 bits." in text
    assert cli.run([*arguments, "--json"]) == 0
    (line,) = lines(capsys.readouterr().out)
    assert line["comparison"]["signals"] == {"pdq_distance": 4}


def test_the_status_tells_what_is_held(server: Any, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    register(server, folder)
    capsys.readouterr()
    assert cli.run(["status", "--server", server.target]) == 0
    text = capsys.readouterr().out
    assert "2 with 2 media items" in text
    assert "image.pdq.v1" in text
    assert "2 KiB" in text
    assert cli.run(["status", "--json", "--server", server.target]) == 0
    (line,) = lines(capsys.readouterr().out)
    assert line["state"]["work_count"] == 2


def test_server_and_key_come_from_the_environment(server: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COPYHOUND_SERVER", server.target)
    monkeypatch.setenv("COPYHOUND_API_KEY", "secret")
    assert cli.run(["status"]) == 0
    assert server.metadata[-1]["authorization"] == "Bearer secret"


def test_an_unreachable_server_is_one_line(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for command in (["register", "--owner", "studio"], ["match"]):
        assert cli.run([*command, str(folder), "--server", "127.0.0.1:1", "--timeout", "0.3"]) == 1
        captured = capsys.readouterr()
        assert captured.out == ""
        (line,) = captured.err.splitlines()
        assert line.startswith("copyhound: ")
        assert "check the address" in line


def test_a_refused_key_is_one_line(
    server: Any, folder: Path, make_status: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    server.failures = [make_status(code_pb2.UNAUTHENTICATED, "the key is revoked", "UNAUTHENTICATED")]
    assert register(server, folder) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line == "copyhound: the key is revoked; here, --api-key or COPYHOUND_API_KEY takes it"


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["register", "--owner", "studio"], "name a file or folder"),
        (["register", "a.png"], "--owner NAME"),
        (["register", "--manifest", "/absent.csv"], "No such file"),
        (["match"], "PATH"),
        (["match", "a.png", "--min-probability", "2"], "min-probability"),
        (["match", "a.png", "--bogus"], "--bogus"),
        (["match", "a.png", "--tls-key", "key.pem"], "go together"),
        (["bogus"], "bogus"),
        (["keys"], "command"),
        (["serve"], "--data"),
    ],
)
def test_wrong_use_is_one_line_and_status_two(
    arguments: list[str], says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.run(arguments) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    (line,) = captured.err.splitlines()
    assert line.startswith("copyhound: ")
    assert says in line


def test_a_manifest_with_an_unknown_column_is_wrong_use(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    manifest = tmp_path / "works.csv"
    manifest.write_text("path,ttle\na.png,x\n")
    assert cli.run(["register", "--manifest", str(manifest)]) == 2
    assert "not ttle" in capsys.readouterr().err


def test_serve_hands_its_options_to_the_service(executed: list[list[str]], tmp_path: Path) -> None:
    cli.run(["serve", "--data", str(tmp_path)])
    options = ["--listen", "127.0.0.1:0", "--metrics", "127.0.0.1:9", "--import-root", "in"]
    tls = ["--tls-certificate", "c.pem", "--tls-key", "k.pem", "--tls-client-ca", "a.pem"]
    flags = ["--allow-anonymous", "--json-logs"]
    cli.run(["serve", "--data", "d", *options, *tls, *flags])
    start = [sys.executable, "-P", "-m", "service", "serve"]
    assert executed == [
        [*start, "--data", str(tmp_path)],
        [*start, "--data", "d", *options, *tls, *flags],
    ]


def test_keys_are_kept_by_the_service(executed: list[list[str]]) -> None:
    quotas = ["--requests-per-minute", "60", "--bytes-per-minute", "1000"]
    cli.run(["keys", "create", "--data", "d", "--role", "owner", "--owner", "studio", *quotas])
    cli.run(["keys", "list", "--data", "d"])
    cli.run(["keys", "revoke", "--data", "d", "k1"])
    start = [sys.executable, "-P", "-m", "service", "keys"]
    assert executed == [
        [*start, "create", "--data", "d", "--role", "owner", "--owner", "studio", *quotas],
        [*start, "list", "--data", "d"],
        [*start, "revoke", "--data", "d", "k1"],
    ]


def test_an_interruption_says_how_to_go_on(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupt(_client: copyhound.Client) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(copyhound.Client, "index_state", interrupt)
    assert cli.run(["status"]) == 130
    assert "goes on where it was" in capsys.readouterr().err


def test_the_version_and_help_are_shown(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["--version"]) == 0
    assert capsys.readouterr().out == f"{copyhound.__version__}\n"
    assert cli.run([]) == 0
    assert "register" in capsys.readouterr().out


def test_a_strange_name_neither_fails_nor_steers_the_terminal(
    server: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / os.fsdecode(b"\xff[red]\x1b[2J.png")).write_bytes(b"aaaa")
    assert register(server, tmp_path) == 0
    assert cli.run(["match", str(tmp_path), "--server", server.target]) == 0
    assert cli.run(["match", str(tmp_path), "--server", server.target, "--json"]) == 0
    (work,) = server.works.values()
    assert work.external_id == "\\xff[red]\x1b[2J.png"
    text = capsys.readouterr().out
    assert "\x1b" not in text
    assert "\\xff[red]\\x1b[2J.png" in text


def test_a_folder_as_one_is_one_work_wherever_it_lies(
    server: Any, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert register(server, folder, "--as-one", "--prefix", "g-", "--json") == 0
    (work,) = server.works.values()
    assert (work.external_id, work.title, work.references[0].filename) == (
        "g-pictures",
        "pictures",
        "pictures",
    )
    with zipfile.ZipFile(io.BytesIO(server.contents[work.references[0].name])) as packed:
        assert {name: packed.read(name) for name in packed.namelist()} == {
            "a.png": b"aaaa",
            "more/b.jpg": b"bbbb",
        }
    (printed,) = lines(capsys.readouterr().out)
    assert (printed["path"], printed["status"]) == (str(folder), "registered")

    moved = tmp_path / "elsewhere" / "pictures"
    moved.parent.mkdir()
    folder.rename(moved)
    assert register(server, moved, "--as-one", "--prefix", "g-") == 0
    assert "0 registered, 1 already there" in capsys.readouterr().err
    assert cli.run(["match", str(moved), "--as-one", "--server", server.target, "--json"]) == 0
    (answer,) = lines(capsys.readouterr().out)
    assert (answer["path"], answer["answer"]["matches"][0]["external_id"]) == (str(moved), "g-pictures")


def test_a_folder_that_cannot_be_packed_is_named(
    server: Any, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "gone.png").symlink_to("nowhere.png")
    assert register(server, folder, "--as-one") == 1
    assert "all its files must be readable" in capsys.readouterr().err
