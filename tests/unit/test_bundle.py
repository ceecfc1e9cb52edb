"""A bundle is checked offline, and what was altered, is missing or was added is named."""

import hashlib
import io
import json
import re
import shutil
import subprocess
from collections.abc import Callable
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from copyhound import stored_zip
from copyhound.bundle import (
    SIGNATURE,
    STAMP,
    SUMS,
    BundleVerification,
    NoBundleError,
    key_id,
    pem_of,
    read_key,
    verify_bundle,
)
from copyhound.cli import app
from copyhound.stored_zip import Member
from crawler.capture import Evidence, RobotsVerdict, write_capture
from crawler.exchanges import Exchange
from service.monitored import CustodyEvent
from service.monitored import digest_of_event as digest_of_custody
from service.reviewed import Event, SubjectKind
from service.reviewed import digest_of_event as digest_of_review
from tests.authority import Authority

KEY = Ed25519PrivateKey.generate()
PUBLIC = KEY.public_key()
CONTENT = b"\x89PNG a picture" * 20
DIGEST = hashlib.sha256(CONTENT).hexdigest()
CAPTURE = UUID(int=7)
CASE = UUID(int=9)
AT = datetime(2026, 11, 22, 12, tzinfo=UTC)
WARC = f"captures/{CAPTURE}.warc"
CUSTODY = f"captures/{CAPTURE}.custody.json"
SUSPECT = f"suspect/{DIGEST}.bin"
Files = dict[str, bytes]


@cache
def warc() -> tuple[bytes, str]:
    """A capture, and its seal."""
    exchange = Exchange(
        "https://site.example/b.png",
        AT,
        b"GET /b.png HTTP/1.1\r\n\r\n",
        AT,
        b"HTTP/1.1 200 OK\r\n\r\n",
        CONTENT,
        200,
        "192.0.2.1",
    )
    file = io.BytesIO()
    evidence = Evidence(
        capture_id=CAPTURE,
        run="lists/a/runs/b",
        crawler="crawler",
        place_id="place",
        page=None,
        page_url="",
        page_title="",
        media_url=exchange.url,
        found_as="",
        context="",
        hops=[],
        exchanges=[exchange],
        contents=[CONTENT],
        content_type="image/png",
        robots=RobotsVerdict("", 200, "00", "2026", "allowed"),
    )
    seal = write_capture(file, evidence).seal.hex()
    return file.getvalue(), seal


def as_json(value: object) -> bytes:
    return json.dumps(value, ensure_ascii=False).encode()


def values(event: CustodyEvent | Event, digest: bytes) -> dict[str, Any]:
    return {
        "number": event.number,
        "at": event.at.isoformat(timespec="microseconds"),
        "actor": event.actor,
        "action": event.action,
        "detail": event.detail,
        "sha256": digest.hex(),
    }


def custody(sha256: str) -> list[dict[str, Any]]:
    told = []
    previous = bytes(32)
    for number, (action, detail) in enumerate((("RECEIVED", {"sha256": sha256}), ("EXPORTED", {})), 1):
        event = CustodyEvent(number, AT, "server", action, json.dumps(detail), b"")
        previous = digest_of_custody(CAPTURE, event, previous)
        told.append(values(event, previous))
    return told


def cases() -> list[dict[str, Any]]:
    told = []
    previous = bytes(32)
    ruling = {"outcome": "infringing", "reason": "EXCERPT", "note": "文"}
    happened: list[tuple[str, str, dict[str, Any]]] = [
        ("server", "OPENED", {"report": "one"}),
        ("anna", "DECIDED", ruling),
        ("anna", "DECIDED", ruling),
        ("bob", "UNDONE", {"decision": 2, "outcome": "infringing"}),
    ]
    for number, (actor, action, detail) in enumerate(happened, 1):
        subject = (UUID(int=number), SubjectKind.CASE, CASE, "studio")
        event = Event(*subject, number, AT, actor, action, json.dumps(detail, ensure_ascii=False))
        previous = digest_of_review(event, previous)
        told.append(values(event, previous))
    decisions = [
        {"number": number, **ruling, "actor": "anna", "at": told[1]["at"], "undone_by": undone_by}
        for number, undone_by in ((2, 4), (3, None))
    ]
    return [{"name": f"cases/{CASE}", "site": "site.example", "decisions": decisions, "events": told}]


def files(**about: object) -> Files:
    """The files of a bundle, but for those that vouch for the others."""
    data, seal = warc()
    sha256 = hashlib.sha256(data).hexdigest()
    events = custody(sha256)
    report = {
        "format": "copyhound.report.v1",
        "report": {"name": "reports/one"},
        "content": {"sha256": DIGEST},
        "reference": {"name": "works/a/references/b", "deleted": True},
        "captures": [{"name": f"captures/{CAPTURE}", "sha256": sha256, "seal": seal, "custody": events}],
        "cases": cases(),
    }
    bundle = {
        "format": "copyhound.evidence.v1",
        "report": "reports/one",
        "created_at": "2026-11-23T00:00:00+00:00",
        "public_key": pem_of(PUBLIC),
        "left_out": {},
    }
    return {
        "report.pdf": b"%PDF",
        "report.json": as_json(report),
        "reference.json": as_json(report["reference"]),
        "decisions.json": as_json({"cases": report["cases"]}),
        "bundle.json": as_json(bundle | about),
        WARC: data,
        CUSTODY: as_json({"capture": f"captures/{CAPTURE}", "events": events}),
        SUSPECT: CONTENT,
        "VERIFY.txt": b"how",
    }


def case_files(**about: object) -> Files:
    """The files of a bundle of a case with one report."""
    parts = files()
    report = json.loads(parts["report.json"])
    (case,) = report.pop("cases")
    report |= {
        "report": {"name": "reports/one", "revision": 1},
        "content": {"sha256": DIGEST, "modality": "image"},
        "work": {"name": "works/a"},
        "match": {"probability": 0.9},
    }
    row = {
        "name": "reports/one",
        "revision": 1,
        "sha256": DIGEST,
        "modality": "image",
        "probability": 0.9,
        "event": 1,
        "covered": True,
    }
    values = {
        "format": "copyhound.case.v1",
        "case": {**case, "report_count": 1},
        "work": {"name": "works/a"},
        "reports": [row],
    }
    bundle = json.loads(parts["bundle.json"])
    del bundle["report"]
    return {
        "case.pdf": b"%PDF",
        "case.json": as_json(values),
        "bundle.json": as_json({**bundle, "case": case["name"], **about}),
        "reports/one.json": as_json(report),
        "references/b.json": as_json(report["reference"]),
        "references/b/picture.jpg": b"jpeg",
        WARC: parts[WARC],
        SUSPECT: CONTENT,
        "VERIFY.txt": b"how",
    }


def vouched(parts: Files, key: Ed25519PrivateKey = KEY) -> Files:
    sums = "".join(f"{hashlib.sha256(content).hexdigest()}  {name}\n" for name, content in parts.items())
    return parts | {SUMS: sums.encode(), SIGNATURE: key.sign(sums.encode())}


def stored(path: Path, parts: Files) -> Path:
    path.write_bytes(b"".join(stored_zip.write(Member.of(name, content) for name, content in parts.items())))
    return path


def verified(path: Path, parts: Files, **options: Any) -> BundleVerification:
    return verify_bundle(stored(path / "bundle.zip", parts), **{"key": PUBLIC, **options})


def changed(parts: Files, name: str, change: Callable[[Any], Any]) -> Files:
    """The files with another JSON value in one of them."""
    value = json.loads(parts[name])
    change(value)
    return parts | {name: as_json(value)}


def test_an_untouched_bundle_is_intact(tmp_path: Path) -> None:
    checked = verified(tmp_path, vouched(files()))
    assert checked.findings == ()
    assert checked.notes == ("no authority stamped the time of this bundle",)
    assert (checked.subject, checked.key, checked.pinned) == ("reports/one", key_id(PUBLIC), True)
    assert (checked.created_at, checked.files) == ("2026-11-23T00:00:00+00:00", 9)
    assert checked.captures[WARC].capture == str(CAPTURE)
    assert checked.captures[WARC].seal == warc()[1]


def test_a_folder_that_it_was_unpacked_into(tmp_path: Path) -> None:
    folder = tmp_path / "unpacked"
    shutil.unpack_archive(stored(tmp_path / "bundle.zip", vouched(files())), folder)
    assert verify_bundle(folder, key=PUBLIC).intact
    (folder / SUSPECT).write_bytes(b"other")
    assert not verify_bundle(folder, key=PUBLIC).intact
    (folder / "link").symlink_to("/etc/passwd")
    with pytest.raises(NoBundleError, match="'link' is no file of a bundle"):
        verify_bundle(folder)


@pytest.mark.parametrize("name", [*files(), SUMS])
def test_each_file_that_is_altered_is_named(tmp_path: Path, name: str) -> None:
    parts = vouched(files())
    content = bytearray(parts[name])
    content[len(content) // 2] ^= 1
    checked = verified(tmp_path, parts | {name: bytes(content)})
    assert any(name in finding and "altered" in finding for finding in checked.findings)


@pytest.mark.parametrize("name", [*files(), SIGNATURE])
def test_each_file_that_is_missing_is_named(tmp_path: Path, name: str) -> None:
    parts = vouched(files())
    del parts[name]
    checked = verified(tmp_path, parts)
    assert any(finding.startswith(f"{name}: is missing") for finding in checked.findings)


@pytest.mark.parametrize("name", ["notes.txt", "captures/other.warc", "SHA256SUMS.old"])
def test_each_file_that_was_added_is_named(tmp_path: Path, name: str) -> None:
    checked = verified(tmp_path, vouched(files()) | {name: b"x"})
    assert any(name in finding and "was put in" in finding for finding in checked.findings)


def test_no_bundle_without_digests(tmp_path: Path) -> None:
    with pytest.raises(NoBundleError, match="holds no SHA256SUMS"):
        verified(tmp_path, files())
    with pytest.raises(NoBundleError, match="name a bundle that can be read"):
        verify_bundle(tmp_path / "none.zip")


def test_only_the_given_key_counts(tmp_path: Path) -> None:
    """Somebody else can make a bundle that is whole in itself; the key tells it apart."""
    thief = Ed25519PrivateKey.generate()
    forged = vouched(files(public_key=pem_of(thief.public_key())), thief)
    unpinned = verified(tmp_path, forged, key=None)
    assert unpinned.intact
    assert not unpinned.pinned
    assert "which only the bundle itself names" in unpinned.notes[0]
    pinned = verified(tmp_path, forged)
    assert [finding.partition(":")[0] for finding in pinned.findings] == [SIGNATURE]
    assert pinned.key == ""
    assert any("another key than the given one" in note for note in pinned.notes)


def test_a_signature_of_other_digests(tmp_path: Path) -> None:
    parts = vouched(files())
    other = vouched(files(created_at="later"))
    checked = verified(tmp_path, parts | {SIGNATURE: other[SIGNATURE]})
    assert [finding.partition(":")[0] for finding in checked.findings] == [SIGNATURE]
    broken = changed(files(), "bundle.json", lambda about: about.update(public_key="none"))
    assert "bundle.json: the public key cannot be read" in verified(tmp_path, vouched(broken)).findings


def without_first_event(report: Any) -> None:
    del report["captures"][0]["custody"][0]


def with_other_event(report: Any) -> None:
    report["captures"][0]["custody"][1]["actor"] = "nobody"


def with_other_decision(report: Any) -> None:
    report["cases"][0]["decisions"][0]["actor"] = "bob"


def with_other_note(report: Any) -> None:
    report["cases"][0]["events"][1]["detail"] = "{}"


INCONSISTENT: list[tuple[str, Callable[[Any], None], str]] = [
    ("report.json", without_first_event, "does not begin with the receipt"),
    ("report.json", with_other_event, "event 2 was altered, put in or taken out"),
    ("report.json", with_other_decision, "decision 2 is not the one that its events tell of"),
    ("report.json", with_other_note, "event 2 was altered"),
    ("report.json", lambda report: report["captures"][0].update(sha256="00" * 32), "the file is another one"),
    ("report.json", lambda report: report["captures"][0].update(seal="00" * 32), "the seal is another one"),
    ("report.json", lambda report: report["content"].update(sha256="00" * 32), "holds another content"),
    ("report.json", lambda report: report["captures"].clear(), "does not speak of it"),
    ("report.json", lambda report: report.update(format="x"), "do not say copyhound.evidence.v1"),
    ("report.json", lambda report: report.pop("cases"), "cannot be compared with the other files"),
    ("report.json", lambda report: report["captures"].append(7), "cannot be compared with the other files"),
    ("reference.json", lambda reference: reference.update(deleted=False), "reference.json: does not say"),
    ("decisions.json", lambda decisions: decisions["cases"].clear(), "decisions.json: does not say"),
    (CUSTODY, lambda kept: kept["events"].clear(), "custody.json: does not say"),
    ("bundle.json", lambda about: about.update(report="reports/two"), "is of another report"),
]


@pytest.mark.parametrize(("name", "change", "finding"), INCONSISTENT, ids=range(len(INCONSISTENT)))
def test_a_report_that_its_parts_contradict(
    tmp_path: Path, name: str, change: Callable[[Any], None], finding: str
) -> None:
    """Even where all is signed: whoever has the key may still be wrong."""
    checked = verified(tmp_path, vouched(changed(files(), name, change)))
    assert any(finding in one for one in checked.findings), checked.findings


def test_parts_of_a_container_are_shown_below_their_own_suspect_alone(tmp_path: Path) -> None:
    shown = {**files(), f"suspect/{DIGEST}.parts/01/picture.jpg": b"small"}
    assert not verified(tmp_path, vouched(shown)).findings
    stray = f"suspect/{'00' * 32}.parts/01/picture.jpg"
    assert (
        f"{stray}: report.json does not speak of it"
        in verified(tmp_path, vouched({**shown, stray: b"other"})).findings
    )


CONTRADICTED: list[tuple[str, Callable[[Any], None], str]] = [
    ("case.json", lambda one: one["reports"].clear(), "does not name all 1 reports"),
    ("case.json", lambda one: one["reports"].append(one["reports"][0]), "names reports/one twice"),
    ("case.json", lambda one: one["reports"][0].update(event=2), "no event tells how reports/one"),
    ("case.json", lambda one: one["reports"][0].update(probability=0.5), "is not the report that case.json"),
    ("case.json", lambda one: one["work"].update(name="works/b"), "is on another work"),
    ("case.json", lambda one: one["case"]["events"].pop(), "is not the one that its events tell of"),
    ("case.json", lambda one: one["case"]["decisions"][1].update(outcome="licensed"), "decision 3 is not"),
    ("case.json", lambda one: one["case"]["decisions"][0].update(undone_by=None), "decision 2 is not"),
    ("case.json", lambda one: one.pop("reports"), "cannot be compared with the other files"),
    ("reports/one.json", without_first_event, "does not begin with the receipt"),
    ("reports/one.json", lambda one: one["content"].update(sha256="00" * 32), "is not the report that case"),
    ("reports/one.json", lambda one: one["captures"].clear(), "does not speak of it"),
    ("references/b.json", lambda one: one.update(deleted=False), "references/b.json: does not say"),
    ("bundle.json", lambda one: one.update(case="cases/two"), "is of another case"),
]


@pytest.mark.parametrize(("name", "change", "finding"), CONTRADICTED, ids=range(len(CONTRADICTED)))
def test_a_case_that_its_parts_contradict(
    tmp_path: Path, name: str, change: Callable[[Any], None], finding: str
) -> None:
    checked = verified(tmp_path, vouched(changed(case_files(), name, change)))
    assert any(finding in one for one in checked.findings), checked.findings


def test_bundles_of_cases(tmp_path: Path) -> None:
    checked = verified(tmp_path, vouched(case_files()))
    assert checked.findings == ()
    assert (checked.subject, checked.files, list(checked.captures)) == (f"cases/{CASE}", 9, [WARC])
    parts = case_files()
    del parts["reports/one.json"]
    checked = verified(tmp_path, vouched(parts))
    assert "reports/one.json: is missing: case.json speaks of it" in checked.findings
    parts = case_files(left_out={"reports": "no room"})
    values = json.loads(parts["case.json"])
    values["case"]["report_count"] = 3
    checked = verified(tmp_path, vouched(parts | {"case.json": as_json(values)}))
    assert (checked.findings, "2 reports were left out: no room" in checked.notes) == ((), True)
    checked = verified(tmp_path, vouched(files() | {"case.json": b"{}"}))
    assert not checked.intact


def test_an_altered_capture_is_told_in_detail(tmp_path: Path) -> None:
    parts = files()
    parts[WARC] = parts[WARC].replace(CONTENT, CONTENT[::-1])
    findings = verified(tmp_path, vouched(parts)).findings
    assert any(one.startswith(f"{WARC}: record 1") or "payload was altered" in one for one in findings)
    parts[WARC] = b"no capture"
    findings = verified(tmp_path, vouched(parts)).findings
    assert any("this is not a capture" in one for one in findings)


def test_what_was_left_out_is_noted(tmp_path: Path) -> None:
    parts = files(left_out={WARC: "fewer captures were asked for"})
    del parts[WARC]
    checked = verified(tmp_path, vouched(parts))
    assert checked.intact
    assert f"{WARC}: was left out when the bundle was made: fewer captures were asked for" in checked.notes


def test_values_that_are_no_values(tmp_path: Path) -> None:
    for content in (b"[]", b"{", b"[" * 100_000, b"\xff"):
        assert not verified(tmp_path, vouched(files() | {"report.json": content})).intact


WHOLE = b"".join(stored_zip.write(Member.of(name, content) for name, content in vouched(files()).items()))


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(place=st.integers(0, len(WHOLE) - 1), mask=st.integers(1, 255))
def test_no_altered_byte_goes_unnoticed(tmp_path: Path, place: int, mask: int) -> None:
    path = tmp_path / "altered.zip"
    path.write_bytes(WHOLE[:place] + bytes([WHOLE[place] ^ mask]) + WHOLE[place + 1 :])
    try:
        checked = verify_bundle(path, key=PUBLIC)
    except NoBundleError:
        return
    assert not checked.intact


def hostile_warc(change: Callable[[Any], Any]) -> bytes:
    """A capture whose manifest was written by somebody else, and is whole as a record."""
    data, _ = warc()
    start = data.rindex(b"WARC/1.1\r\n")
    head, _, block = data[start:].partition(b"\r\n\r\n")
    manifest = json.loads(block)
    new = change(manifest) or as_json(manifest)
    head = re.sub(rb"(?i)content-length: \d+", b"Content-Length: %d" % len(new), head)
    return data[:start] + head + b"\r\n\r\n" + new + b"\r\n\r\n"


MALFORMED: list[Callable[[Any], Any]] = [
    lambda manifest: manifest["content"].update(ranges=[[10**30, 1]]),
    lambda manifest: manifest["content"].update(ranges=[[0, 1000]] * 1000),
    lambda manifest: manifest["content"].update(ranges=[[-5, 1]]),
    lambda manifest: manifest["content"].update(ranges=7),
    lambda manifest: manifest.update(records=["x"]),
    lambda manifest: manifest.update(content=[]),
    lambda _: b"[" * 200_000,
    lambda _: b'{"format": ' + b"9" * 10_000 + b"}",
]


@pytest.mark.parametrize("change", MALFORMED, ids=range(len(MALFORMED)))
def test_manifests_that_strangers_wrote(tmp_path: Path, change: Callable[[Any], Any]) -> None:
    checked = verified(tmp_path, vouched(files() | {WARC: hostile_warc(change)}))
    assert any(one.startswith(WARC) for one in checked.findings)


def test_lengths_that_are_no_lengths(tmp_path: Path) -> None:
    long = b"WARC/1.1\r\nContent-Length: " + b"9" * 5000 + b"\r\n\r\n"
    checked = verified(tmp_path, vouched(files() | {WARC: long}))
    assert any("does not say its length" in one for one in checked.findings)


def test_time_stamp(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    parts = vouched(files())
    stamped = parts | {STAMP: authority.stamp(parts[SUMS])}
    checked = verified(tmp_path, stamped, authorities=[authority.root])
    assert (checked.findings, checked.notes) == ((), ())
    assert checked.stamped_at
    unchecked = verified(tmp_path, stamped)
    assert unchecked.intact
    assert "give its authority's certificate" in unchecked.notes[0]
    other = parts | {STAMP: authority.stamp(b"other")}
    (finding,) = verified(tmp_path, other, authorities=[authority.root]).findings
    assert finding == f"{STAMP}: the time stamp is of something else than it stands beside"


def test_by_hand_with_common_tools(tmp_path: Path) -> None:
    """The commands that the guide gives, but for Copyhound's own."""
    shutil.unpack_archive(stored(tmp_path / "bundle.zip", vouched(files())), tmp_path)
    (tmp_path / "key.pem").write_text(pem_of(PUBLIC))
    verify = "openssl pkeyutl -verify -pubin -inkey key.pem -rawin -in SHA256SUMS -sigfile SHA256SUMS.sig"
    for command in ("sha256sum --check --strict SHA256SUMS", verify):
        subprocess.run(command.split(), cwd=tmp_path, check=True, capture_output=True)
    (tmp_path / SUMS).write_bytes((tmp_path / SUMS).read_bytes().upper())
    assert subprocess.run(verify.split(), cwd=tmp_path, check=False, capture_output=True).returncode


def test_the_command(tmp_path: Path) -> None:
    bundle = stored(tmp_path / "bundle.zip", vouched(files()))
    pem = tmp_path / "key.pem"
    pem.write_text(pem_of(PUBLIC))
    run = CliRunner().invoke(app, ["verify", str(bundle), "--key", str(pem)])
    assert run.exit_code == 0
    assert f"{bundle}: intact\n  reports/one, exported 2026" in run.stdout
    capture = tmp_path / "capture.warc"
    capture.write_bytes(warc()[0])
    damaged = stored(tmp_path / "damaged.zip", vouched(files()) | {SUSPECT: b"other"})
    half = tmp_path / "half.zip"
    half.write_bytes(bundle.read_bytes()[:5000])
    run = CliRunner().invoke(app, ["verify", "--json", *map(str, (bundle, capture, damaged, half))])
    assert run.exit_code == 1
    told = [json.loads(line) for line in run.stdout.splitlines()]
    assert [one["status"] for one in told] == ["intact", "intact", "altered", "failed"]
    assert told[0]["captures"][0]["path"] == WARC
    assert told[0]["key"] == key_id(PUBLIC)
    assert not told[0]["key_given"]
    assert "was cut off" in told[3]["findings"][0]


def test_wrong_use_of_the_command(tmp_path: Path) -> None:
    bundle = stored(tmp_path / "bundle.zip", vouched(files()))
    (tmp_path / "key.pem").write_text("no key")
    for options in (["--key", str(tmp_path / "key.pem")], ["--key", str(tmp_path)], ["--digest", "00"]):
        assert CliRunner().invoke(app, ["verify", str(bundle), *options]).exit_code == 2


def test_keys() -> None:
    raw = PUBLIC.public_bytes_raw()
    assert key_id(read_key(raw.hex().encode() + b"\n")) == key_id(read_key(pem_of(PUBLIC).encode()))
    other = subprocess.run(
        ["openssl", "genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256"],
        check=True,
        capture_output=True,
    ).stdout
    pem = ["openssl", "pkey", "-pubout"]
    public = subprocess.run(pem, input=other, check=True, capture_output=True).stdout
    for wrong in (b"", b"00", public):
        with pytest.raises(ValueError, match=r"\w"):
            read_key(wrong)
