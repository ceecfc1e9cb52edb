"""The process that sets a sheet as a PDF: ``python -m service.evidence.typesetting FOLDER``.

The folder holds ``sheet.typ``, ``sheet.json`` and the pictures. The PDF goes to standard output. Whatever the
sheet holds, this process reads nothing but that folder and the fonts, writes no file, and takes no more memory
and CPU time than it is given.
"""

import sys
from importlib.resources import files
from pathlib import Path
from typing import Final

import typst

from service.sandbox.confine import confine, limit_cpu

MEMORY: Final = 1 << 30
"""Bytes of address space that setting takes at most, above what it starts with."""
CPU_SECONDS: Final = 60.0
"""CPU time that setting takes at most."""
STANDARD: Final = "a-2a"
"""PDF/A-2a (ISO 19005-2): kept for decades, with its text and structure."""


def main(folder: Path) -> None:
    """Set the sheet of a folder."""
    fonts = typst.Fonts(
        include_system_fonts=False,
        include_embedded_fonts=False,
        font_paths=[str(files("manimgx_fonts_cjk"))],
    )
    confine(memory_bytes=MEMORY)
    limit_cpu(CPU_SECONDS)
    sys.stdout.buffer.write(
        typst.compile(str(folder / "sheet.typ"), root=str(folder), font_paths=fonts, pdf_standards=STANDARD)
    )


if __name__ == "__main__":
    main(Path(sys.argv[1]))
