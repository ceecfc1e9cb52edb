"""Handing reports and cases over: what ``reports export`` and ``cases export`` have in common."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from copyhound.cli.connection import Connection
from copyhound.cli.output import print_error, print_json, print_line
from copyhound.exports import EvidenceFormat

Output = Annotated[
    Path,
    typer.Option("-o", "--output", metavar="FILE", help="Where to: a .zip, .pdf, .html or .json file."),
]
Form = Annotated[
    EvidenceFormat | None, typer.Option("--as", help="As what; left out: as the file's name ends.")
]
Language = Annotated[str, typer.Option("--language", metavar="TAG", help="Of its sentences: en or zh.")]
WithReference = Annotated[
    bool, typer.Option("--with-reference", help="Put in what is kept to show of the work.")
]
MaxCaptures = Annotated[
    int,
    typer.Option(
        "--max-captures", min=0, metavar="N", help="Only the first captures of each report; 0: all."
    ),
]

_ENDINGS = {
    ".zip": EvidenceFormat.BUNDLE,
    ".json": EvidenceFormat.JSON,
    ".html": EvidenceFormat.PAGE,
    ".pdf": EvidenceFormat.PDF,
}


@dataclass(frozen=True, slots=True)
class Options:
    """How something is handed over: the options above."""

    output: Path
    form: EvidenceFormat | None
    language: str
    with_reference: bool
    max_captures: int


def hand_over(connection: Connection, name: str, options: Options, *, as_json: bool) -> None:
    """Write a report or a case to a file, and say what it holds."""
    wanted = options.form or _ENDINGS.get(options.output.suffix.lower())
    if wanted is None:
        raise typer.BadParameter("-o: let the name end in .zip, .pdf, .html or .json, or say --as what")
    if not options.output.parent.is_dir():
        raise typer.BadParameter(f"-o: there is no folder {options.output.parent}")
    with connection.client() as client:
        exported = client.export_evidence(
            name,
            options.output,
            form=wanted,
            language=options.language,
            with_reference=options.with_reference,
            max_captures=options.max_captures,
        )
    if as_json:
        values = {
            "path": str(exported.path),
            "media_type": exported.media_type,
            "byte_count": exported.byte_count,
            "key_id": exported.key_id,
            "stamped": exported.stamped,
            "left_out": dict(exported.left_out),
        }
        print_json({"export": values})
        return
    print_line(f"{exported.path}: {exported.byte_count:,} bytes")
    if exported.key_id:
        print_line(f"signed by {exported.key_id}{', time stamped' if exported.stamped else ''}")
    for path, reason in exported.left_out.items():
        print_error(f"{path} was left out: {reason}")
