"""Captures: what one holds, and how to check it offline.

A capture is one file in WARC 1.1 (ISO 28500:2017), uncompressed, named by its id. Its records, in order:

1. ``warcinfo``: the software and its versions.
2. ``request`` and ``response`` of the page on which the medium was found, where the capture has one. Where a
   browser rendered the page, a ``conversion`` record with the document as its scripts left it, if it is not
   large, and a ``resource`` record with a picture of the page. The manifest names them (``dom`` and
   ``screenshot``), and what the page was put together from (``rendered_from``).
3. ``request`` and ``response`` of every exchange that led to the medium: redirects, playlists, segments. A
   body that was sent compressed is followed by a ``conversion`` record that holds it unpacked.
4. ``metadata``, the manifest: JSON that names every record before it with its place, its length, its SHA-256
   and a chain: ``chain[i] = SHA-256(chain[i-1] + sha256[i])``, of the raw digests, starting from 32 zero
   bytes. It also says where in the file the content lies: byte ranges whose concatenation is the medium.
   And it names its own record's id and date (``record``), so that this record's head, which no digest
   covers, can be told from its content; captures of earlier versions don't, and their head is not checked.
5. ``resource``, optional: an RFC 3161 time-stamp response over the seal. Its head follows from the manifest
   and the seal in the same way.

The seal is ``SHA-256(chain + SHA-256(the manifest record))``, with the last chain. Without a time stamp, or a
copy of the seal in other hands, someone who can write the file can write another that is consistent in
itself: the service keeps every capture's SHA-256 when it takes it.
"""

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Final
from uuid import NAMESPACE_OID, uuid5

from rfc3161_client import VerificationError, VerifierBuilder, decode_timestamp_response

FORMAT: Final = "copyhound.capture.v1"
"""What a manifest of this format says of itself."""
MANIFEST_TYPE: Final = "application/vnd.copyhound.capture+json"
"""Content type of the manifest record."""
TOKEN_TYPE: Final = "application/timestamp-reply"  # noqa: S105  no password
"""Content type of the record that holds the time stamp (RFC 3161, section 3.4)."""

_CHUNK: Final = 1 << 20
_MAX_HEADER: Final = 64 * 1024
_MAX_DIGITS: Final = 18
_MAX_MANIFEST: Final = 64 * 1024 * 1024
_MALFORMED: Final = (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError)
"""What values that are not what they should be lead to."""


@dataclass(frozen=True, slots=True)
class Record:
    """One record of a WARC file, by its place.

    Attributes:
        offset: Its first byte in the file.
        length: Its bytes, with header and trailing line breaks.
        header: Its named fields, names in lower case.
        block: First byte of its block in the file.
        block_length: Bytes of its block.
    """

    offset: int
    length: int
    header: Mapping[str, str]
    block: int
    block_length: int


@dataclass(frozen=True, slots=True)
class Verification:
    """What checking a capture showed.

    Attributes:
        capture: Its id; empty if there is no manifest that can be read.
        findings: What is wrong, a sentence each; empty: nothing was altered.
        stamped_at: Time of a time stamp that was checked against the given authorities, RFC 3339; empty:
            none.
        notes: What a reader should know besides, such as a time stamp that could not be checked.
        manifest: The manifest; empty if it cannot be read.
        sha256: Of the whole file, hexadecimal, as the service keeps it.
        seal: Hexadecimal; empty if there is no manifest that can be read.
    """

    capture: str
    findings: tuple[str, ...]
    stamped_at: str
    notes: tuple[str, ...]
    manifest: Mapping[str, Any]
    sha256: str
    seal: str

    @property
    def intact(self) -> bool:
        """Whether nothing was altered."""
        return not self.findings


@dataclass(frozen=True, slots=True)
class Description:
    """What a capture says of itself, unchecked.

    Attributes:
        seal: Hexadecimal.
        manifest: See the module.
    """

    seal: str
    manifest: Mapping[str, Any]


class NoCaptureError(Exception):
    """The file cannot be read, or is not a capture at all."""


def chained(previous: bytes, digest: bytes) -> bytes:
    """Return the next link of a chain of raw SHA-256 digests."""
    return hashlib.sha256(previous + digest).digest()


def token_id(seal: bytes) -> str:
    """Return the WARC-Record-ID of the record that holds the time stamp of a seal."""
    return f"<urn:uuid:{uuid5(NAMESPACE_OID, seal.hex())}>"


def read_records(file: BinaryIO) -> Iterator[Record]:
    """Yield the records of an uncompressed WARC file, without reading their blocks.

    Raises:
        NoCaptureError: At the first place that holds no record; what came before was yielded.
    """
    size = file.seek(0, 2)
    offset = 0
    while offset < size:
        file.seek(offset)
        head = file.read(_MAX_HEADER)
        end = head.find(b"\r\n\r\n")
        if not head.startswith(b"WARC/1.1\r\n") or end < 0:
            raise NoCaptureError(f"at byte {offset} there is no WARC 1.1 record")
        header = {}
        for line in head[:end].split(b"\r\n")[1:]:
            name, _, value = line.partition(b":")
            header[name.strip().lower().decode("utf-8", "replace")] = value.strip().decode("utf-8", "replace")
        stated = header.get("content-length", "")
        if not stated.isascii() or not stated.isdigit() or len(stated) > _MAX_DIGITS:
            raise NoCaptureError(f"the record at byte {offset} does not say its length")
        block = offset + end + 4
        length = block + int(stated) + 4 - offset
        if offset + length > size:
            raise NoCaptureError(f"the file ends inside the record at byte {offset}")
        file.seek(offset + length - 4)
        if file.read(4) != b"\r\n\r\n":
            raise NoCaptureError(f"the record at byte {offset} does not end where it says")
        yield Record(offset, length, header, block, int(stated))
        offset += length


def digest_range(file: BinaryIO, offset: int, length: int) -> bytes:
    """Return the raw SHA-256 of a range of a file; what lies behind its end counts as empty."""
    digest = hashlib.sha256()
    file.seek(offset)
    while length > 0:
        chunk = file.read(min(_CHUNK, length))
        if not chunk:
            break
        digest.update(chunk)
        length -= len(chunk)
    return digest.digest()


def digest_ranges(file: BinaryIO, ranges: Sequence[Sequence[int]]) -> str:
    """Return the hexadecimal SHA-256 of the concatenation of (offset, length) ranges of a file."""
    digest = hashlib.sha256()
    for offset, length in ranges:
        file.seek(offset)
        left = length
        while left > 0 and (chunk := file.read(min(_CHUNK, left))):
            digest.update(chunk)
            left -= len(chunk)
    return digest.hexdigest()


def verify(
    path: Path, *, authorities: Sequence[bytes] = (), sha256: str = "", seal: str = ""
) -> Verification:
    """Check a capture, offline: every record, the chain, the content, the time stamp.

    Args:
        path: The capture.
        authorities: PEM files of root certificates whose time stamps count; empty: a time stamp is reported
            but not checked against an authority.
        sha256: The whole file's SHA-256 as kept elsewhere, hexadecimal; empty: not compared.
        seal: The seal as kept elsewhere, hexadecimal; empty: not compared.

    Raises:
        NoCaptureError: If the file cannot be read, or does not begin with a WARC record.
    """
    try:
        with path.open("rb") as file:
            return verify_file(file, authorities=authorities, sha256=sha256, seal=seal)
    except OSError as error:
        raise NoCaptureError(f"{path}: {error.strerror}; name a capture that can be read") from error


def describe(file: BinaryIO) -> Description:
    """Read what a capture says of itself, and its seal, without checking anything or reading its content.

    Raises:
        NoCaptureError: If it is damaged, or is no capture.
    """
    chain = bytes(32)
    try:
        for record in read_records(file):
            if record.header.get("content-type") == MANIFEST_TYPE:
                manifest = _read_manifest(file, record)
                for entry in manifest["records"]:
                    chain = chained(chain, bytes.fromhex(entry["sha256"]))
                seal = chained(chain, digest_range(file, record.offset, record.length))
                return Description(seal.hex(), manifest)
    except _MALFORMED as error:
        raise NoCaptureError(f"the manifest cannot be read ({type(error).__name__}: {error})") from error
    raise NoCaptureError("the manifest is missing")


def verify_file(
    file: BinaryIO, *, authorities: Sequence[bytes] = (), sha256: str = "", seal: str = ""
) -> Verification:
    """As `verify`, of a file that is open and can be read from anywhere.

    Raises:
        NoCaptureError: If it does not begin with a WARC record.
    """
    sha256, seal = sha256.lower(), seal.lower()
    file.seek(0)
    findings: list[str] = []
    notes: list[str] = []
    records: list[Record] = []
    if file.read(10) != b"WARC/1.1\r\n":
        raise NoCaptureError("this is not a capture: it does not begin with a WARC 1.1 record")
    try:
        for record in read_records(file):
            records.append(record)  # noqa: PERF402  what came before the damage counts
    except NoCaptureError as error:
        findings.append(f"the file is damaged: {error}")
    whole = digest_range(file, 0, file.seek(0, 2)).hex()
    if sha256 and sha256 != whole:
        findings.append(f"the file is another one: its SHA-256 is {whole}, not {sha256}")
    sealed = [r for r in records if r.header.get("content-type") == MANIFEST_TYPE]
    if len(sealed) != 1:
        findings.append(
            "the manifest is missing: nothing can be said of the rest"
            if not sealed
            else f"there are {len(sealed)} manifests: one capture has one"
        )
        return Verification("", tuple(findings), "", (), {}, whole, "")
    manifest_record = sealed[0]
    after = [record for record in records if record.offset > manifest_record.offset]
    findings += _altered_block(file, manifest_record, "the manifest")
    try:
        manifest = _read_manifest(file, manifest_record)
        before = [record for record in records if record.offset < manifest_record.offset]
        chain = _check_records(file, before, manifest, findings)
        _check_content(file, manifest, findings)
        for name, kind in (("screenshot", "resource"), ("dom", "conversion")):
            _check_named(file, before, manifest, findings, name=name, kind=kind)
        raw_seal = chained(chain, digest_range(file, manifest_record.offset, manifest_record.length))
        findings += _altered_heads(file, manifest_record, after, raw_seal, manifest)
    except _MALFORMED as error:
        findings.append(f"the manifest was altered: it cannot be read ({type(error).__name__}: {error})")
        return Verification("", tuple(findings), "", (), {}, whole, "")
    if seal and seal != raw_seal.hex():
        findings.append(f"the seal is another one: it is {raw_seal.hex()}, not {seal}")
    stamped = _check_token(file, after, raw_seal, authorities, findings, notes)
    if not stamped:
        notes.append(
            "nothing in other hands dates this capture: compare its SHA-256 with what the service keeps"
        )
    return Verification(
        str(manifest.get("capture", "")),
        tuple(findings),
        stamped,
        tuple(notes),
        manifest,
        whole,
        raw_seal.hex(),
    )


def _read_manifest(file: BinaryIO, record: Record) -> dict[str, Any]:
    if record.block_length > _MAX_MANIFEST:
        raise ValueError("it is longer than any manifest")
    file.seek(record.block)
    manifest = json.loads(file.read(record.block_length))
    if not isinstance(manifest, dict) or manifest.get("format") != FORMAT:
        raise ValueError(f"it does not say {FORMAT}")
    return manifest


def _name(record: Record) -> str:
    target = record.header.get("warc-target-uri", "")
    kind = record.header.get("warc-type", "?")
    return f"record at byte {record.offset} ({kind}{', ' + ascii(target)[1:-1] if target else ''})"


def _altered_block(file: BinaryIO, record: Record, name: str) -> list[str]:
    """Compare a record's block with the digest in the record's own header."""
    stated = record.header.get("warc-block-digest", "")
    actual = f"sha256:{digest_range(file, record.block, record.block_length).hex()}"
    if stated == actual:
        return []
    return [f"{name}: the block was altered: its digest is {actual}, its header says {stated or 'nothing'}"]


def _altered_payload(file: BinaryIO, record: Record, name: str) -> list[str]:
    """Compare a record's payload, which is the block without HTTP headers, with its header."""
    stated = record.header.get("warc-payload-digest")
    if stated is None:
        return []
    skip = 0
    if record.header.get("content-type", "").startswith("application/http"):
        file.seek(record.block)
        end = file.read(min(record.block_length, 1 << 20)).find(b"\r\n\r\n")
        skip = end + 4 if end >= 0 else record.block_length
    actual = f"sha256:{digest_range(file, record.block + skip, record.block_length - skip).hex()}"
    if stated == actual:
        return []
    return [f"{name}: the payload was altered: its digest is {actual}, its header says {stated}"]


def _altered_heads(
    file: BinaryIO, record: Record, after: Sequence[Record], seal: bytes, manifest: Mapping[str, Any]
) -> list[str]:
    """Compare the heads of the manifest's record, and of the time stamp's, with what the manifest says."""
    if manifest.get("record") is None:
        return []
    fields = _head_fields("metadata", str(manifest["record"]["id"]), manifest, MANIFEST_TYPE)
    found = _altered_head(file, record, fields, "the manifest")
    for token in after[:1]:
        if token.header.get("content-type") == TOKEN_TYPE:
            fields = _head_fields("resource", token_id(seal), manifest, TOKEN_TYPE, {"WARC-Seal": seal.hex()})
            found += _altered_head(file, token, fields, "the time stamp")
    return found


def _head_fields(
    kind: str,
    identity: str,
    manifest: Mapping[str, Any],
    content_type: str,
    extra: Mapping[str, str] | None = None,
) -> dict[str, str]:
    return {
        "WARC-Type": kind,
        "WARC-Record-ID": identity,
        "WARC-Date": str(manifest["record"]["date"]),
        "WARC-Target-URI": str(manifest["media_url"]),
        **(extra or {}),
        "WARC-Payload-Digest": "",
        "WARC-Block-Digest": "",
        "Content-Type": content_type,
    }


def _altered_head(file: BinaryIO, record: Record, fields: Mapping[str, str], name: str) -> list[str]:
    """Compare the head of a record with its fields, byte by byte, unless its block was altered."""
    if _altered_block(file, record, name):
        return []
    digest = f"sha256:{digest_range(file, record.block, record.block_length).hex()}"
    lines = [f"{field}: {value or digest}" for field, value in fields.items()]
    expected = "\r\n".join(["WARC/1.1", *lines, f"Content-Length: {record.block_length}", "", ""]).encode()
    file.seek(record.offset)
    if file.read(record.block - record.offset) == expected:
        return []
    return [f"{name}: its header was altered, its block was not"]


def _check_records(
    file: BinaryIO, records: Sequence[Record], manifest: Mapping[str, Any], findings: list[str]
) -> bytes:
    """Compare every record with the manifest; return the chain's last link as the manifest has it."""
    listed = list(manifest["records"])
    present = {record.offset: record for record in records}
    chain = bytes(32)
    for entry in listed:
        digest = bytes.fromhex(entry["sha256"])
        chain = chained(chain, digest)
        where = f"record {entry['id']} ({entry['type']}, {ascii(entry['target'])[1:-1]})"
        if chain.hex() != entry["chain"]:
            findings.append(f"{where}: the chain is broken here: the manifest was put together anew")
        record = present.pop(entry["offset"], None)
        if record is None or record.length != entry["length"]:
            findings.append(f"{where}: is missing at byte {entry['offset']}, or has another length")
            continue
        if digest_range(file, record.offset, record.length) != digest:
            details = _altered_payload(file, record, where) or _altered_block(file, record, where)
            findings += details or [f"{where}: its header was altered, its block was not"]
    findings += [f"{_name(record)}: was put in: the manifest does not name it" for record in present.values()]
    return chain


def _check_content(file: BinaryIO, manifest: Mapping[str, Any], findings: list[str]) -> None:
    content = manifest["content"]
    if sum(length for _, length in content["ranges"]) > file.seek(0, 2):
        findings.append("the content was altered: its ranges are longer than the capture")
        return
    actual = digest_ranges(file, content["ranges"])
    if actual != content["sha256"]:
        findings.append(f"the content was altered: its SHA-256 is {actual}, not {content['sha256']}")


def _check_named(
    file: BinaryIO,
    records: Sequence[Record],
    manifest: Mapping[str, Any],
    findings: list[str],
    *,
    name: str,
    kind: str,
) -> None:
    """Compare a record that the manifest tells more of with what it tells."""
    said = manifest.get(name)
    if said is None:
        return
    record = _named(records, said["record"])
    if record is None or record.header.get("warc-type") != kind:
        findings.append(f"the {name} is missing: no {kind} record is called {ascii(said['record'])[1:-1]}")
        return
    actual = digest_range(file, record.block, record.block_length).hex()
    if actual != said["sha256"]:
        findings.append(f"the {name} was altered: its SHA-256 is {actual}, not {ascii(said['sha256'])[1:-1]}")


def _named(records: Iterable[Record], identity: str) -> Record | None:
    return next((r for r in records if r.header.get("warc-record-id") == identity), None)


def read_screenshot(path: Path, verification: Verification) -> bytes:
    """Return the picture of the page that a capture has.

    Args:
        path: The capture.
        verification: What checking it showed.

    Raises:
        NoCaptureError: If it cannot be read, or has none.
    """
    said = verification.manifest.get("screenshot")
    try:
        with path.open("rb") as file:
            record = _named(read_records(file), said["record"]) if said else None
            if record is None or record.block_length > _MAX_MANIFEST:
                raise NoCaptureError(
                    f"{path}: has no screenshot; captures of pages that a browser rendered do"
                )
            file.seek(record.block)
            return file.read(record.block_length)
    except OSError as error:
        raise NoCaptureError(f"{path}: {error.strerror}; name a capture that can be read") from error


def _check_token(  # noqa: PLR0917  called in one place
    file: BinaryIO,
    after: Sequence[Record],
    seal: bytes,
    authorities: Sequence[bytes],
    findings: list[str],
    notes: list[str],
) -> str:
    """Check the time stamp; return its time if an authority vouches for it."""
    tokens = [record for record in after if record.header.get("content-type") == TOKEN_TYPE]
    findings += [
        f"{_name(record)}: was put in: only a time stamp follows the manifest"
        for record in after
        if record not in tokens[:1]
    ]
    if not tokens:
        return ""
    findings += _altered_block(file, tokens[0], "the time stamp")
    file.seek(tokens[0].block)
    return check_stamp(file.read(tokens[0].block_length), seal, authorities, findings, notes)


def check_stamp(
    token: bytes, message: bytes, authorities: Sequence[bytes], findings: list[str], notes: list[str]
) -> str:
    """Check an RFC 3161 time-stamp response; add what is wrong to `findings`, what else is to say to `notes`.

    Args:
        token: The response, DER.
        message: What it is to stamp.
        authorities: PEM files of root certificates; empty: it is not checked against an authority.
        findings: Sentences.
        notes: Sentences.

    Returns:
        Its time, RFC 3339, if one of the authorities vouches for it; else empty.
    """
    try:
        response = decode_timestamp_response(token)
        info = response.tst_info
    except ValueError as error:
        findings.append(f"the time stamp was altered: it cannot be read ({error})")
        return ""
    if info.message_imprint.message != hashlib.sha256(message).digest():
        findings.append("the time stamp is of something else than it stands beside")
        return ""
    if not authorities:
        notes.append(
            f"a time stamp says {info.gen_time.isoformat()}; give its authority's certificate to check it"
        )
        return ""
    return _vouched(response, message, authorities, findings)


def _vouched(response: Any, seal: bytes, authorities: Sequence[bytes], findings: list[str]) -> str:
    from cryptography import x509  # noqa: PLC0415  slow to import, and seldom needed

    builder = VerifierBuilder()
    for pem in authorities:
        for certificate in x509.load_pem_x509_certificates(pem):
            builder = builder.add_root_certificate(certificate)
    for der in response.signed_data.certificates:
        certificate = x509.load_der_x509_certificate(der)
        if _is_leaf(certificate):
            builder = builder.tsa_certificate(certificate)
            break
    try:
        builder.build().verify_message(response, seal)
    except (VerificationError, ValueError) as error:
        findings.append(f"the time stamp is not of the given authorities: {error}")
        return ""
    return str(response.tst_info.gen_time.isoformat())


def _is_leaf(certificate: Any) -> bool:
    from cryptography import x509  # noqa: PLC0415  as above

    try:
        constraints = certificate.extensions.get_extension_for_class(x509.BasicConstraints)
    except x509.ExtensionNotFound:
        return True
    return not constraints.value.ca
