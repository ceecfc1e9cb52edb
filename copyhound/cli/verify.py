"""``copyhound verify``."""

from pathlib import Path
from typing import Annotated, Any

import typer

from copyhound.cli.connection import AsJson
from copyhound.cli.output import FAILED, print_error, print_json, print_line


def verify(
    *,
    paths: Annotated[
        list[Path],
        typer.Argument(
            metavar="FILE…",
            help="Bundles of evidence (.zip, or folders that they were unpacked into), captures (.warc).",
        ),
    ],
    key: Annotated[
        Path | None,
        typer.Option("--key", metavar="FILE", help="Public key that must have signed the bundles, PEM."),
    ] = None,
    authority: Annotated[
        list[Path] | None,
        typer.Option("--authority", metavar="FILE", help="Root certificate whose time stamps count, PEM."),
    ] = None,
    digest: Annotated[
        str, typer.Option("--digest", metavar="HEX", help="SHA-256 of a capture as the service keeps it.")
    ] = "",
    seal: Annotated[
        str, typer.Option("--seal", metavar="HEX", help="A capture's seal as kept elsewhere.")
    ] = "",
    screenshot: Annotated[
        Path | None,
        typer.Option(
            "--screenshot", metavar="FILE", help="Write a capture's picture of its page there: JPEG."
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Check bundles of evidence and captures offline, and say what was altered."""
    from copyhound import bundle, evidence  # noqa: PLC0415  cryptography is slow to load

    if (digest or seal or screenshot) and (len(paths) != 1 or bundle.is_bundle(paths[0])):
        raise typer.BadParameter("--digest, --seal and --screenshot are of one capture: name one")
    roots = [_read(path) for path in authority or ()]
    try:
        signer = None if key is None else bundle.read_key(_read(key))
    except ValueError as error:
        raise typer.BadParameter(f"--key: {key} holds no Ed25519 public key in PEM") from error
    intact = True
    for path in paths:
        try:
            if bundle.is_bundle(path):
                found: Any = bundle.verify_bundle(path, key=signer, authorities=roots)
            else:
                found = evidence.verify(path, authorities=roots, sha256=digest, seal=seal)
        except (evidence.NoCaptureError, bundle.NoBundleError) as error:
            intact = False
            _print_failure(path, error, as_json=as_json)
            continue
        intact &= found.intact
        _print_found(path, found, as_json=as_json)
        if screenshot:
            intact &= _write_screenshot(path, found, screenshot)
    if not intact:
        raise typer.Exit(FAILED)


def _print_failure(path: Path, error: Exception, *, as_json: bool) -> None:
    if as_json:
        print_json({"path": str(path), "status": "failed", "findings": [str(error)]})
    else:
        print_error(f"{path}: {error}")


def _print_found(path: Path, found: Any, *, as_json: bool) -> None:
    """What checking a bundle or a capture showed."""
    of_bundle = hasattr(found, "captures")
    if as_json:
        values = _bundle_values(found) if of_bundle else _capture_values(found)
        print_json({"path": str(path), "status": "intact" if found.intact else "altered", **values})
        return
    print_line(f"{path}: {'intact' if found.intact else 'ALTERED'}")
    for line in _bundle_lines(found) if of_bundle else ():
        print_line(f"  {line}")
    for finding in found.findings:
        print_line(f"  {finding}")
    if found.stamped_at:
        print_line(f"  stamped at {found.stamped_at}")
    if not of_bundle and (said := found.manifest.get("screenshot")):
        print_line(f"  {_screenshot(said)}")
    for note in found.notes:
        print_line(f"  note: {note}")


def _capture_values(verified: Any) -> dict[str, Any]:
    return {
        "capture": verified.capture,
        "sha256": verified.sha256,
        "stamped_at": verified.stamped_at,
        "screenshot": verified.manifest.get("screenshot"),
        "findings": list(verified.findings),
        "notes": list(verified.notes),
    }


def _screenshot(said: Any) -> str:
    """Say in a line how the page's picture came to be; the manifest may be hostile."""
    if not isinstance(said, dict):
        return "a screenshot that the manifest does not describe"
    pixels = said.get("pixels")
    width, height = pixels if isinstance(pixels, list) and len(pixels) == 2 else ("?", "?")
    part = "" if said.get("whole") else ", not to the page's end"
    return (
        f"screenshot of {said.get('url')}: {width} × {height} pixels{part},"
        f" taken at {said.get('taken_at')} by {said.get('software')}"
    )


def _write_screenshot(path: Path, verified: Any, target: Path) -> bool:
    """Write a capture's picture of its page; whether it has one."""
    from copyhound import evidence  # noqa: PLC0415  as above

    try:
        picture = evidence.read_screenshot(path, verified)
    except evidence.NoCaptureError as error:
        print_error(str(error))
        return False
    try:
        target.write_bytes(picture)
    except OSError as error:
        raise typer.BadParameter(f"{target}: {error.strerror}; name a file that can be written") from error
    return True


def _bundle_values(verified: Any) -> dict[str, Any]:
    return {
        "subject": verified.subject,
        "created_at": verified.created_at,
        "files": verified.files,
        "key": verified.key,
        "key_given": verified.pinned,
        "stamped_at": verified.stamped_at,
        "captures": [
            {"path": name, **_capture_values(capture)} for name, capture in verified.captures.items()
        ],
        "findings": list(verified.findings),
        "notes": list(verified.notes),
    }


def _bundle_lines(verified: Any) -> list[str]:
    lines = [f"{verified.subject}, exported {verified.created_at}, {verified.files} files"]
    if verified.key and verified.pinned:
        lines.append(f"signed by the given key, {verified.key}")
    return lines


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise typer.BadParameter(f"{path}: {error.strerror}; name a file that can be read") from error
