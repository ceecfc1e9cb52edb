"""``copyhound verify``."""

from pathlib import Path
from typing import Annotated, Any

import typer

from copyhound.cli.connection import AsJson
from copyhound.cli.output import FAILED, print_error, print_json, print_line


def verify(
    *,
    captures: Annotated[list[Path], typer.Argument(metavar="CAPTURE…", help="Captures: .warc files.")],
    authority: Annotated[
        list[Path] | None,
        typer.Option("--authority", metavar="FILE", help="Root certificate whose time stamps count, PEM."),
    ] = None,
    digest: Annotated[
        str, typer.Option("--digest", metavar="HEX", help="SHA-256 of the file as the service keeps it.")
    ] = "",
    seal: Annotated[str, typer.Option("--seal", metavar="HEX", help="The seal as kept elsewhere.")] = "",
    screenshot: Annotated[
        Path | None,
        typer.Option("--screenshot", metavar="FILE", help="Write the picture of the page there: JPEG."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Check captures offline, and say what was altered."""
    from copyhound import evidence  # noqa: PLC0415  cryptography is slow to load

    if (digest or seal or screenshot) and len(captures) != 1:
        raise typer.BadParameter("--digest, --seal and --screenshot are of one capture: name one")
    roots = [_read(path) for path in authority or ()]
    intact = True
    for path in captures:
        try:
            verified = evidence.verify(path, authorities=roots, sha256=digest, seal=seal)
        except evidence.NoCaptureError as error:
            intact = False
            if as_json:
                print_json({"path": str(path), "status": "failed", "findings": [str(error)]})
            else:
                print_error(f"{path}: {error}")
            continue
        intact &= verified.intact
        if as_json:
            print_json(_values(path, verified))
        else:
            _print(path, verified)
        if screenshot:
            intact &= _write_screenshot(path, verified, screenshot)
    if not intact:
        raise typer.Exit(FAILED)


def _print(path: Path, verified: Any) -> None:
    print_line(f"{path}: {'intact' if verified.intact else 'ALTERED'}")
    for finding in verified.findings:
        print_line(f"  {finding}")
    if verified.stamped_at:
        print_line(f"  stamped at {verified.stamped_at}")
    if shot := verified.manifest.get("screenshot"):
        print_line(f"  {_screenshot(shot)}")
    for note in verified.notes:
        print_line(f"  note: {note}")


def _values(path: Path, verified: Any) -> dict[str, Any]:
    return {
        "path": str(path),
        "status": "intact" if verified.intact else "altered",
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


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise typer.BadParameter(f"{path}: {error.strerror}; name a certificate that can be read") from error
