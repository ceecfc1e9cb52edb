"""What is done to a passage before it is published again, by name."""

import random
import re
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from types import MappingProxyType
from typing import Final

import opencc

HOMOGLYPHS: Final = {
    "a": "аａ𝐚",  # noqa: RUF001 -- homoglyphs are the point
    "c": "сｃ𝖼",  # noqa: RUF001
    "e": "еｅ𝑒",  # noqa: RUF001
    "i": "іｉ𝗂",  # noqa: RUF001
    "j": "јｊ",  # noqa: RUF001
    "o": "оοｏ",  # noqa: RUF001
    "p": "рρｐ",  # noqa: RUF001
    "s": "ѕｓ",  # noqa: RUF001
    "x": "хｘ",  # noqa: RUF001
    "y": "уｙ",  # noqa: RUF001
    "A": "АΑＡ",  # noqa: RUF001
    "B": "ВΒ",  # noqa: RUF001
    "E": "ЕΕ",  # noqa: RUF001
    "H": "НΗ",  # noqa: RUF001
    "I": "ІΙ",  # noqa: RUF001
    "M": "МΜ",  # noqa: RUF001
    "O": "ОΟ",  # noqa: RUF001
    "T": "ТΤ",  # noqa: RUF001
    "一": "⼀",
    "人": "⼈",
    "大": "⼤",
    "子": "⼦",
    "小": "⼩",
    "山": "⼭",
    "心": "⼼",
    "日": "⽇",
    "水": "⽔",
    "老": "⽼",
    "見": "⾒",
    "行": "⾏",
}
_ZERO_WIDTH: Final = "\u200b\u200c\u200d\u2060\ufeff\u202d\u00ad"
_OCR: Final = (
    *(("rn", "m"), ("m", "rn"), ("l", "1"), ("I", "l"), ("O", "0"), ("o", "0"), ("e", "c"), ("h", "b")),
    *(("cl", "d"), ("d", "cl"), ("vv", "w"), ("w", "vv"), ("ti", "fi"), ("u", "ii"), ("n", "ri"), ("f", "t")),
    *(("己", "已"), ("已", "巳"), ("未", "末"), ("日", "曰"), ("人", "入"), ("土", "士"), ("大", "太")),
    *(("天", "夭"), ("王", "玉"), ("千", "干"), ("子", "孑"), ("自", "白"), ("了", "丁"), ("我", "找")),
    *(("他", "池"), ("見", "貝"), ("見", "兒"), ("来", "米"), ("道", "逍"), ("不", "下"), ("的", "旳")),
)
_OCR_SHARE: Final = 0.06
_MARKS: Final = re.compile(r"[^\w\s]|_")
_WORD: Final = re.compile(r"[A-Za-z0-9'’]+|[^A-Za-z0-9'’]")  # noqa: RUF001 -- an apostrophe
_NAME: Final = re.compile(r"(?<=[a-z,;] )[A-Z][a-z]{2,}")
_HAN: Final = re.compile(r"[\u3400-\u9fff]")


@dataclass(frozen=True, slots=True)
class Hand:
    """Who attacks: a source of chance, and unrelated text to take characters and words from."""

    rng: random.Random
    other: str


def _characters(text: str, hand: Hand, share: float) -> str:
    """Replace, insert or drop a character, each a third of the time."""
    letters = [character for character in hand.other if character.isalpha()]
    out = []
    for character in text:
        if hand.rng.random() >= share:
            out.append(character)
            continue
        kind = hand.rng.randrange(3)
        if kind == 0:
            out.append(hand.rng.choice(letters))
        elif kind == 1:
            out += [hand.rng.choice(letters), character]
    return "".join(out)


def _tokens(text: str, rng: random.Random) -> list[str]:
    """Words of Latin letters, of one to three ideographs, and what stands between."""
    tokens, rest = [], _WORD.findall(text)
    place = 0
    while place < len(rest):
        size = rng.choice((1, 2, 2, 2, 3)) if _HAN.match(rest[place]) else 1
        while size > 1 and not all(_HAN.match(one) for one in rest[place : place + size]):
            size -= 1
        tokens.append("".join(rest[place : place + size]))
        place += size
    return tokens


def _words(text: str, hand: Hand, share: float) -> str:
    """Replace a word, put one before it or drop it, each a third of the time."""
    vocabulary = [word for word in _tokens(hand.other, hand.rng) if word[0].isalpha()]
    out = []
    for token in _tokens(text, hand.rng):
        if not token[0].isalnum() or hand.rng.random() >= share:
            out.append(token)
            continue
        kind, another = hand.rng.randrange(3), hand.rng.choice(vocabulary)
        between = " " if token.isascii() else ""
        out += ([another], [another, between, token], [])[kind]
    return "".join(out)


def _shuffle(text: str, hand: Hand) -> str:
    """Cut after sentences into paragraphs of 80 characters or more, and change their order."""
    parts = [""]
    for sentence in re.split(r"(?<=[.!?。！？”])", text):  # noqa: RUF001 -- full-width marks
        if len(parts[-1]) >= 80:
            parts.append("")
        parts[-1] += sentence
    if len(parts) == 1:
        parts = [text[: len(text) // 2], text[len(text) // 2 :]]
    order = hand.rng.sample(range(len(parts)), len(parts))
    if order == sorted(order):
        order.reverse()
    return "\n".join(parts[place] for place in order)


@cache
def _converter(config: str) -> opencc.OpenCC:
    return opencc.OpenCC(config)


def _script(text: str, _hand: Hand) -> str:
    """Traditional to simplified Chinese, or back, word by word; Latin letters to full-width capitals."""
    simplified = _converter("t2s").convert(text)
    converted = simplified if simplified != text else _converter("s2twp").convert(text)
    return "".join(chr(ord(one.upper()) + 0xFEE0) if "a" <= one.lower() <= "z" else one for one in converted)


def _disguise(text: str, hand: Hand) -> str:
    """Homoglyphs for a third of the characters that have some, and zero-width marks after a fifth of all."""
    out = []
    for character in text:
        alike = HOMOGLYPHS.get(character)
        out.append(hand.rng.choice(alike) if alike and hand.rng.random() < 1 / 3 else character)
        if hand.rng.random() < 0.2:
            out.append(hand.rng.choice(_ZERO_WIDTH))
    return "".join(out)


def _names(text: str, hand: Hand) -> str:
    """Give every capitalised name, or the eight commonest pairs of ideographs, another, throughout."""
    names = [name for name, _ in Counter(_NAME.findall(text)).most_common(30)]
    pairs = Counter(text[place : place + 2] for place in range(len(text) - 1))
    names += [pair for pair, _ in pairs.most_common(200) if all(map(_HAN.match, pair))][:8]
    others = _NAME.findall(hand.other) or ["Quentin"]
    for name in names:
        start = hand.rng.randrange(len(hand.other) - 3)
        new = (
            hand.rng.choice(others) if name.isascii() else hand.other[start : start + hand.rng.choice((2, 3))]
        )
        text = text.replace(name, new)
    return text


def _punctuation(text: str, hand: Hand) -> str:
    """Drop or change marks, and break lines elsewhere."""
    text = _MARKS.sub(lambda _: hand.rng.choice(("", " ", "，", "…", "!")), text)  # noqa: RUF001
    text = re.sub(r"\s+", " ", text)
    return "".join(f"{character}\n" if hand.rng.random() < 0.03 else character for character in text)


def _ocr(text: str, hand: Hand) -> str:
    """Confuse what looks alike, split words and lose a character here and there."""
    for old, new in hand.rng.sample(_OCR, len(_OCR)):
        text = "".join(
            (new if place and hand.rng.random() < 2 * _OCR_SHARE else old if place else "") + part
            for place, part in enumerate(text.split(old))
        )
    out = []
    for character in text:
        chance = hand.rng.random()
        if chance >= _OCR_SHARE / 2:
            out.append(character)
        elif chance >= _OCR_SHARE / 4:
            out += [character, " "]
    return "".join(out)


def _mixture(text: str, hand: Hand) -> str:
    """Another order, another script, other marks, and a tenth of the words and of the characters changed."""
    text = _script(_shuffle(text, hand), hand)
    return _punctuation(_characters(_words(text, hand, 0.1), hand, 0.1), hand)


ATTACKS: Mapping[str, Callable[[str, Hand], str]] = MappingProxyType(
    {
        "verbatim": lambda text, _hand: text,
        "characters 10 %": lambda text, hand: _characters(text, hand, 0.1),
        "characters 20 %": lambda text, hand: _characters(text, hand, 0.2),
        "characters 30 %": lambda text, hand: _characters(text, hand, 0.3),
        "words 10 %": lambda text, hand: _words(text, hand, 0.1),
        "words 30 %": lambda text, hand: _words(text, hand, 0.3),
        "paragraphs shuffled": _shuffle,
        "other script": _script,
        "homoglyphs, zero width": _disguise,
        "names replaced": _names,
        "punctuation, lines": _punctuation,
        "OCR": _ocr,
        "mixture": _mixture,
    }
)
"""By name."""
