"""The program that sets a sheet as a PDF, in a process of its own: ``python -P typesetting.py FOLDER``.

The folder holds ``sheet.typ``, ``sheet.json`` and the pictures. The PDF goes to standard output. Whatever the
sheet holds, the process reads nothing but that folder and the fonts, writes no file, opens few, and takes no
more memory and CPU time than it is given. It imports nothing of Copyhound, so that it starts at once.
"""

import resource
import sys
from importlib.resources import files
from pathlib import Path
from typing import Final

import typst

MEMORY: Final = 2 << 30
"""Bytes of address space that the process takes at most; a tenth of that is in use."""
CPU_SECONDS: Final = 60
"""CPU time that it takes at most."""
OPEN_FILES: Final = 32
"""Files that it has open at most."""
STANDARD: Final = "a-2a"
"""PDF/A-2a (ISO 19005-2): kept for decades, with its text and structure."""


def main(folder: Path) -> None:
    """Set the sheet of a folder."""
    for what, most in (
        (resource.RLIMIT_AS, MEMORY),
        (resource.RLIMIT_CPU, CPU_SECONDS),
        (resource.RLIMIT_NOFILE, OPEN_FILES),
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_CORE, 0),
    ):
        hard = resource.getrlimit(what)[1]
        least = most if hard == resource.RLIM_INFINITY else min(most, hard)
        resource.setrlimit(what, (least, least))
    fonts = typst.Fonts(
        include_system_fonts=False,
        include_embedded_fonts=False,
        font_paths=[str(files("manimgx_fonts_cjk"))],
    )
    pdf = typst.compile(str(folder / "sheet.typ"), root=str(folder), font_paths=fonts, pdf_standards=STANDARD)
    sys.stdout.buffer.write(pdf)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
