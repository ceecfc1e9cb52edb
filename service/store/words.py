"""Words of titles and sites, as they are kept to be searched."""

import re
import unicodedata
from collections.abc import Iterable

_MAX_CHARACTERS = 32
_MARKS = re.compile("[\u0300-\u036f]")
_UNSPACED = (
    "\u0e00-\u0edf"  # Thai, Lao
    "\u3040-\u30ff"  # kana
    "\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"  # Chinese characters
    "\uac00-\ud7af"  # Hangul
)
_WORD = re.compile(rf"[{_UNSPACED}]+|[^\W_{_UNSPACED}]+")
_IS_UNSPACED = re.compile(rf"[{_UNSPACED}]")


def words_of(texts: Iterable[str]) -> set[bytes]:
    """The words of texts, folded, in UTF-8: each is found by any of its beginnings.

    Letters lose case, accents and width. Scripts that put no spaces between words give every two characters
    that follow each other, and the last one by itself; words are cut to 32 characters.
    """
    found: set[str] = set()
    for text in texts:
        for word in _WORD.findall(_folded(text)):
            found.update(_pairs(word, with_last=True) if _IS_UNSPACED.match(word) else [word])
    return {word[:_MAX_CHARACTERS].encode() for word in found}


def asked_for(text: str) -> list[bytes]:
    """What words have to begin with so that all of a search's words are found; empty: it has no words."""
    found: dict[str, None] = {}
    for word in _WORD.findall(_folded(text)):
        unspaced = _IS_UNSPACED.match(word) and len(word) > 1
        found |= dict.fromkeys(_pairs(word, with_last=False) if unspaced else [word])
    return [word[:_MAX_CHARACTERS].encode() for word in found]


def end_of(beginning: bytes) -> bytes:
    """Smaller than every word that does not begin with this, and is larger; larger than those that do."""
    return beginning + b"\xff"


def _folded(text: str) -> str:
    compatible = unicodedata.normalize("NFKD", text.casefold())
    return unicodedata.normalize("NFC", _MARKS.sub("", compatible)).casefold()


def _pairs(word: str, *, with_last: bool) -> list[str]:
    pairs = [word[i : i + 2] for i in range(len(word) - 1)]
    return [*pairs, word[-1]] if with_last else pairs
