"""Evidence bundles: what one holds, and how to check it offline.

A bundle is a zip archive, its files stored as they are (see `stored_zip`), that holds all there is on one
match report, or on a case with all its reports. That of a report:

- ``report.json`` and ``report.pdf``: the report, for programs and for people;
- ``captures/{id}.warc`` and ``captures/{id}.custody.json``: the captures, and what happened to each since;
- ``suspect/{sha256}.bin``: the content that was captured, as it was;
- ``reference.json``: what proves that the work was registered; ``reference/…``: what is shown of it, where
  that was asked for and kept;
- ``decisions.json``: the cases that the report is in, with all their events;
- ``bundle.json``: who made the bundle, when, with which software, and the public key;
- ``VERIFY.txt``: how to check it by hand;
- ``SHA256SUMS``: the digest of every file above, as ``sha256sum`` writes and checks them;
- ``SHA256SUMS.sig``: an Ed25519 signature (RFC 8032) over the bytes of ``SHA256SUMS``;
- ``SHA256SUMS.tsr``, optional: an RFC 3161 time-stamp response over the same bytes.

That of a case has ``case.json`` and ``case.pdf`` in place of ``report.json``, ``report.pdf`` and
``decisions.json``; ``reports/{id}.json`` for each report, custody included; and ``references/{id}.json``.

Whoever can sign can make another bundle that is consistent in itself: a signature says that the holder of the
key put the parts together, and the time stamp, when at the latest.
"""

import hashlib
import io
import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, Final

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_pem_public_key,
)

from copyhound import evidence, stored_zip

FORMAT: Final = "copyhound.evidence.v1"
"""What ``bundle.json`` says of itself."""
REPORT_FORMAT: Final = "copyhound.report.v1"
"""What ``report.json`` says of itself."""
CASE_FORMAT: Final = "copyhound.case.v1"
"""What ``case.json`` says of itself."""
SUMS: Final = "SHA256SUMS"
"""Digests of all files but itself and those whose names begin with its own."""
SIGNATURE: Final = "SHA256SUMS.sig"
"""The signature over it: 64 bytes."""
STAMP: Final = "SHA256SUMS.tsr"
"""The time stamp over it: DER."""
ABOUT: Final = "bundle.json"
REPORT: Final = "report.json"
CASE: Final = "case.json"
REFERENCE: Final = "reference.json"
DECISIONS: Final = "decisions.json"

_MAX_JSON: Final = 64 * 1024 * 1024
_MAX_SUMS: Final = 4 * 1024 * 1024
_CHUNK: Final = 1 << 20
_LINE: Final = re.compile(r"([0-9a-f]{64})  ([!-~]+)")
_MALFORMED: Final = (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError)
_OF_REPORT: Final = (ABOUT, REPORT, REFERENCE, DECISIONS)
_OF_CASE: Final = (ABOUT, CASE)


class NoBundleError(Exception):
    """The file cannot be read, or is not a bundle at all."""


@dataclass(frozen=True, slots=True)
class BundleVerification:
    """What checking a bundle showed.

    Attributes:
        subject: Name of the report or case; empty if it cannot be read.
        findings: What is wrong, a sentence each; empty: nothing was altered, is missing or was added.
        notes: What a reader should know besides.
        key: Of the key that signed, `key_id`; empty: no signature that holds.
        pinned: Whether that key was given by the caller, and not by the bundle alone.
        created_at: When the bundle says that it was made.
        stamped_at: Time of a time stamp that was checked against the given authorities, RFC 3339; empty:
            none.
        captures: What checking each capture showed, by the file's name.
        files: How many files were compared with their digests.
    """

    subject: str
    findings: tuple[str, ...]
    notes: tuple[str, ...]
    key: str
    pinned: bool
    created_at: str
    stamped_at: str
    captures: Mapping[str, evidence.Verification]
    files: int

    @property
    def intact(self) -> bool:
        """Whether nothing was altered."""
        return not self.findings


def read_key(content: bytes) -> Ed25519PublicKey:
    """The public key of a PEM file, or of 64 hexadecimal digits.

    Raises:
        ValueError: If it is none.
    """
    text = content.strip()
    if re.fullmatch(rb"[0-9A-Fa-f]{64}", text):
        return Ed25519PublicKey.from_public_bytes(bytes.fromhex(text.decode("ascii")))
    try:
        key = load_pem_public_key(text)
    except UnsupportedAlgorithm as error:
        raise ValueError("it is a key of another kind") from error
    if not isinstance(key, Ed25519PublicKey):
        raise ValueError("it is no Ed25519 key")  # noqa: TRY004  of the content, not of a type
    return key


def pem_of(key: Ed25519PublicKey) -> str:
    """The key as OpenSSL reads it."""
    return key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode("ascii")


def key_id(key: Ed25519PublicKey) -> str:
    """A name of the key: the SHA-256 of its SubjectPublicKeyInfo (DER), hexadecimal."""
    return hashlib.sha256(key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)).hexdigest()


def is_bundle(path: Path) -> bool:
    """Whether to check a file or folder as a bundle: a zip archive, or a folder with ``SHA256SUMS``."""
    if path.is_dir():
        return (path / SUMS).is_file()
    try:
        with path.open("rb") as file:
            return file.read(2) == b"PK"
    except OSError:
        return False


def verify_bundle(
    path: Path, *, key: Ed25519PublicKey | None = None, authorities: Sequence[bytes] = ()
) -> BundleVerification:
    """Check a bundle, or the folder that one was unpacked into, offline.

    Args:
        path: The bundle.
        key: The key that must have signed; None: the one that the bundle names, which proves nothing of who
            made it, and is noted.
        authorities: PEM files of root certificates whose time stamps count, the bundle's and the captures'.

    Raises:
        NoBundleError: If it cannot be read, or its archive is damaged or was not written by Copyhound.
    """
    try:
        with _opened(path) as parts:
            return _Check(parts, key, authorities).run()
    except OSError as error:
        raise NoBundleError(f"{path}: {error.strerror}; name a bundle that can be read") from error
    except stored_zip.ArchiveError as error:
        raise NoBundleError(f"this is not a bundle as Copyhound exports it: {error}") from error


Parts = Mapping[str, Callable[[], BinaryIO]]
"""What opens each file of a bundle."""


@contextmanager
def _opened(path: Path) -> Iterator[Parts]:
    with ExitStack() as stack:
        if path.is_dir():
            yield _in_folder(path)
            return
        file = stack.enter_context(path.open("rb"))
        places = stored_zip.read(file)
        yield {name: _opener(file, place) for name, place in places.items()}


def _opener(file: BinaryIO, place: stored_zip.Place) -> Callable[[], BinaryIO]:
    return lambda: stored_zip.window(file, place)


def _in_folder(folder: Path) -> dict[str, Callable[[], BinaryIO]]:
    found: dict[str, Callable[[], BinaryIO]] = {}
    for path in sorted(folder.rglob("*")):
        if path.is_dir() and not path.is_symlink():
            continue
        name = path.relative_to(folder).as_posix()
        if path.is_symlink() or not path.is_file() or not stored_zip.is_name(name):
            raise NoBundleError(f"{name!a} is no file of a bundle; unpack the bundle into a new folder")
        if len(found) >= stored_zip.MAX_FILES:
            raise NoBundleError(f"there are more than {stored_zip.MAX_FILES:,} files: this is no bundle")
        found[name] = _folder_opener(path)
    return found


def _folder_opener(path: Path) -> Callable[[], BinaryIO]:
    return lambda: path.open("rb")


@dataclass(slots=True)
class _Check:
    """One run over a bundle; every step adds to the findings."""

    parts: Parts
    key: Ed25519PublicKey | None
    authorities: Sequence[bytes]
    findings: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    captures: dict[str, evidence.Verification] = field(default_factory=dict)

    def run(self) -> BundleVerification:
        if SUMS not in self.parts:
            raise NoBundleError(f"this is not a bundle: it holds no {SUMS}")
        sums = self._content(SUMS, _MAX_SUMS)
        of_case = CASE in self.parts
        compared = self._check_sums(sums, _OF_CASE if of_case else _OF_REPORT)
        about = self._json(ABOUT)
        main, form = (CASE, CASE_FORMAT) if of_case else (REPORT, REPORT_FORMAT)
        values = self._json(main)
        if about.get("format") != FORMAT or values.get("format") != form:
            self.findings.append(
                f"{ABOUT} and {main} do not say {FORMAT} and {form}: they were altered, or made by"
                " another version of Copyhound"
            )
        signed_by, pinned = self._check_signature(sums, about)
        stamped = self._check_stamp(sums)
        check = self._check_whole_case if of_case else self._check_whole_report
        try:
            check(values, about)
        except _MALFORMED as error:
            self.findings.append(f"{main} cannot be compared with the other files ({type(error).__name__})")
        return BundleVerification(
            subject=_text(_value(values, "case" if of_case else "report", "name")),
            findings=tuple(self.findings),
            notes=tuple(self.notes),
            key=signed_by,
            pinned=pinned,
            created_at=_text(about.get("created_at")),
            stamped_at=stamped,
            captures=self.captures,
            files=compared,
        )

    # Files

    def _content(self, name: str, most: int) -> bytes:
        with self.parts[name]() as file:
            content = file.read(most + 1)
        if len(content) > most:
            raise NoBundleError(f"{name} is larger than any")
        return content

    def _json(self, name: str) -> dict[str, Any]:
        if name not in self.parts:
            return {}
        try:
            value = json.loads(self._content(name, _MAX_JSON))
        except (ValueError, RecursionError):
            self.findings.append(f"{name}: cannot be read as JSON")
            return {}
        return value if isinstance(value, dict) else {}

    def _check_sums(self, sums: bytes, needed: Sequence[str]) -> int:
        listed: dict[str, str] = {}
        for line in sums.decode("ascii", "replace").splitlines():
            found = _LINE.fullmatch(line)
            if found is None or found[2] in listed:
                self.findings.append(f"{SUMS}: a line was altered: {line[:120]!a}")
                continue
            listed[found[2]] = found[1]
        present = {name for name in self.parts if not name.startswith(SUMS)}
        self.findings += [f"{name}: is missing" for name in _sorted(listed.keys() - present)]
        self.findings += [
            f"{name}: was put in: {SUMS} does not name it" for name in _sorted(present - listed.keys())
        ]
        self.findings += [
            f"{name!a}: was put in: no bundle holds it"
            for name in _sorted(self.parts.keys() - present - {SUMS, SIGNATURE, STAMP})
        ]
        self.findings += [f"{name}: is missing" for name in needed if name not in listed.keys() | present]
        for name in _sorted(listed.keys() & present):
            with self.parts[name]() as file:
                actual = _digest(file)
            if actual != listed[name]:
                self.findings.append(
                    f"{name}: was altered: its SHA-256 is {actual}, {SUMS} says {listed[name]}"
                )
        return len(listed.keys() & present)

    def _check_signature(self, sums: bytes, about: Mapping[str, Any]) -> tuple[str, bool]:
        """The key that signed, and whether the caller gave it."""
        try:
            named = read_key(_text(about.get("public_key")).encode())
        except ValueError:
            named = None
            self.findings.append(f"{ABOUT}: the public key cannot be read")
        key = self.key or named
        if self.key is not None and named is not None and key_id(self.key) != key_id(named):
            self.notes.append(f"the bundle names another key than the given one: {key_id(named)}")
        if key is None:
            return "", False
        if SIGNATURE not in self.parts:
            self.findings.append(f"{SIGNATURE}: is missing: nobody vouches for the digests")
            return "", False
        try:
            key.verify(self._content(SIGNATURE, 1024), sums)
        except InvalidSignature:
            self.findings.append(
                f"{SIGNATURE}: {SUMS} was not signed by the key {key_id(key)}, or one of both was altered"
            )
            return "", False
        if self.key is None:
            self.notes.append(
                f"signed by the key {key_id(key)}, which only the bundle itself names: compare it with"
                " that of the server (`copyhound reports key`), or give it with --key"
            )
        return key_id(key), self.key is not None

    def _check_stamp(self, sums: bytes) -> str:
        if STAMP not in self.parts:
            self.notes.append("no authority stamped the time of this bundle")
            return ""
        token = self._content(STAMP, 1024 * 1024)
        found: list[str] = []
        stamped = evidence.check_stamp(token, sums, self.authorities, found, self.notes)
        self.findings += [f"{STAMP}: {finding}" for finding in found]
        return stamped

    # The report against its parts

    def _check_whole_report(self, report: Mapping[str, Any], about: Mapping[str, Any]) -> None:
        if not report:
            return
        if about.get("report") != _value(report, "report", "name"):
            self.findings.append(f"{ABOUT}: is of another report than {REPORT}")
        if self._json(REFERENCE) != report["reference"]:
            self.findings.append(f"{REFERENCE}: does not say what {REPORT} says")
        if self._json(DECISIONS).get("cases") != report["cases"]:
            self.findings.append(f"{DECISIONS}: does not say what {REPORT} says")
        for case in report["cases"]:
            self._check_case(case)
        known = {REPORT, "report.pdf", REFERENCE, DECISIONS}
        known |= self._check_content(REPORT, report, dict(about.get("left_out", {})))
        for capture in report["captures"]:
            custody = f"{capture['name']}.custody.json"
            known.add(custody)
            if self._json(custody).get("events") != capture["custody"]:
                self.findings.append(f"{custody}: does not say what {REPORT} says")
        self._check_strays(REPORT, known, ("reference/", f"suspect/{report['content']['sha256']}.parts/"))

    def _check_whole_case(self, values: Mapping[str, Any], about: Mapping[str, Any]) -> None:
        if not values:
            return
        if about.get("case") != _value(values, "case", "name"):
            self.findings.append(f"{ABOUT}: is of another case than {CASE}")
        left_out = dict(about.get("left_out", {}))
        self._check_case(values["case"])
        joined = {
            event["number"]: json.loads(event["detail"]).get("report") for event in values["case"]["events"]
        }
        known, shown = {CASE, "case.pdf"}, ["references/"]
        for row in values["reports"]:
            name = f"{row['name']}.json"
            if joined.get(row["event"]) != row["name"].removeprefix("reports/"):
                self.findings.append(f"{CASE}: no event tells how {row['name']} came into the case")
            if name in known:
                self.findings.append(f"{CASE}: names {row['name']} twice")
            known.add(name)
            if name not in self.parts:
                self._absent(name, left_out, CASE)
                continue
            known |= self._check_report_of(values, row, name, left_out)
            shown.append(f"suspect/{row['sha256']}.parts/")
        missing = values["case"]["report_count"] - len(values["reports"])
        if missing and "reports" not in left_out:
            self.findings.append(f"{CASE}: does not name all {values['case']['report_count']} reports")
        elif missing:
            self.notes.append(f"{missing} reports were left out: {left_out['reports']}")
        self._check_strays(CASE, known, tuple(shown))

    def _check_report_of(
        self, case: Mapping[str, Any], row: Mapping[str, Any], name: str, left_out: Mapping[str, str]
    ) -> set[str]:
        """Check a report of a case; return the files that it speaks of."""
        report = self._json(name)
        told = {
            "name": _value(report, "report", "name"),
            "revision": _value(report, "report", "revision"),
            "sha256": _value(report, "content", "sha256"),
            "modality": _value(report, "content", "modality"),
            "probability": _value(report, "match", "probability"),
        }
        if report.get("format") != REPORT_FORMAT or any(told[one] != row[one] for one in told):
            self.findings.append(f"{name}: is not the report that {CASE} speaks of")
            return set()
        if _value(report, "work", "name") != case["work"]["name"]:
            self.findings.append(f"{name}: is on another work than {CASE}")
        proof = f"references/{report['reference']['name'].rpartition('/')[2]}.json"
        if self._json(proof) != report["reference"]:
            self.findings.append(f"{proof}: does not say what {name} says")
        return {proof} | self._check_content(name, report, left_out)

    def _check_content(self, where: str, report: Mapping[str, Any], left_out: Mapping[str, str]) -> set[str]:
        """Check a report's suspect and captures; return their files."""
        content = report["content"]["sha256"]
        suspect = f"suspect/{content}.bin"
        self._check_suspect(where, suspect, content, left_out)
        captures = {self._check_capture(where, one, content, left_out) for one in report["captures"]}
        return {suspect} | captures

    def _check_strays(self, main: str, known: set[str], shown: tuple[str, ...]) -> None:
        """Name the files that nothing speaks of; those below `shown` are there to be looked at."""
        known |= {ABOUT, "VERIFY.txt", SUMS, SIGNATURE, STAMP}
        for name in _sorted(self.parts.keys() - known):
            if not name.startswith(shown):
                self.findings.append(f"{name}: {main} does not speak of it")

    def _check_suspect(self, where: str, name: str, content: str, left_out: Mapping[str, str]) -> None:
        if name not in self.parts:
            self._absent(name, left_out, where)
            return
        with self.parts[name]() as file:
            if _digest(file) != content:
                self.findings.append(f"{name}: is not the content that {where} speaks of")

    def _check_capture(
        self, where: str, capture: Mapping[str, Any], content: str, left_out: Mapping[str, str]
    ) -> str:
        """Check a capture and its custody; return its file."""
        name = str(capture["name"])
        warc, custody = f"captures/{name.removeprefix('captures/')}.warc", f"custody of {name}"
        self._check_chain(custody, [name.removeprefix("captures/")], capture["custody"])
        received = capture["custody"][0] if capture["custody"] else {}
        detail = json.loads(received.get("detail", "{}"))
        if (received.get("action"), detail.get("sha256")) != ("RECEIVED", capture["sha256"]):
            self.findings.append(f"{custody}: does not begin with the receipt of this capture")
        if warc not in self.parts:
            self._absent(warc, left_out, where)
            return warc
        try:
            with self.parts[warc]() as file:
                verified = evidence.verify_file(
                    file,
                    authorities=self.authorities,
                    sha256=capture["sha256"],
                    seal=capture["seal"] or "",
                )
        except evidence.NoCaptureError as error:
            self.findings.append(f"{warc}: {error}")
            return warc
        self.captures[warc] = verified
        self.findings += [f"{warc}: {finding}" for finding in verified.findings]
        if _value(verified.manifest, "content", "sha256") != content:
            self.findings.append(f"{warc}: holds another content than {where} speaks of")
        return warc

    def _absent(self, name: str, left_out: Mapping[str, str], where: str) -> None:
        if name in left_out:
            self.notes.append(f"{name}: was left out when the bundle was made: {left_out[name]}")
        else:
            self.findings.append(f"{name}: is missing: {where} speaks of it")

    def _check_case(self, case: Mapping[str, Any]) -> None:
        name = str(case["name"])
        self._check_chain(name, ["case", name.removeprefix("cases/")], case["events"])
        events = {event["number"]: event for event in case["events"]}
        undone = {
            json.loads(event["detail"]).get("decision"): event["number"]
            for event in case["events"]
            if event["action"] == "UNDONE"
        }
        for decision in case["decisions"]:
            event = events.get(decision["number"], {})
            detail = json.loads(event.get("detail", "{}"))
            told = (event.get("action"), event.get("actor"), event.get("at"))
            said = [detail.get(one) == decision.get(one) for one in ("outcome", "reason", "note")]
            if (
                told != ("DECIDED", decision["actor"], decision["at"])
                or not all(said)
                or undone.get(decision["number"]) != decision["undone_by"]
            ):
                self.findings.append(
                    f"{name}: decision {decision['number']} is not the one that its events tell of"
                )

    def _check_chain(self, name: str, subject: list[str], events: Sequence[Mapping[str, Any]]) -> None:
        """Compute the digests of a chain of events anew."""
        previous = bytes(32)
        for number, event in enumerate(events, 1):
            fields = [str(event["number"]), event["at"], event["actor"], event["action"], event["detail"]]
            text = json.dumps([*subject, *fields, previous.hex()], ensure_ascii=False, separators=(",", ":"))
            previous = hashlib.sha256(text.encode()).digest()
            if event["number"] != number or event["sha256"] != previous.hex():
                self.findings.append(
                    f"{name}: event {number} was altered, put in or taken out: the chain breaks"
                )
                return


def _digest(file: BinaryIO) -> str:
    digest = hashlib.sha256()
    file.seek(0, io.SEEK_SET)
    while chunk := file.read(_CHUNK):
        digest.update(chunk)
    return digest.hexdigest()


def _sorted(names: set[str]) -> list[str]:
    return sorted(names)


def _value(values: Mapping[str, Any], *path: str) -> Any:
    """A value inside others; None where there is none."""
    found: Any = values
    for name in path:
        found = found.get(name) if isinstance(found, Mapping) else None
    return found


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""
