"""Which encoding bytes of text are in, and decoding them piece by piece.

The order is from what cannot be a coincidence to what can: a byte order mark; the escape sequences of
ISO-2022-JP; UTF-16 and UTF-32, whose bytes hold control codes that no other text has; UTF-8; then the
double-byte encodings of Chinese, Japanese and Korean, by the share of their characters that lie in the rows
that each standard gives to the frequent ones (GB 2312 and Big5 level 1, KS X 1001 hangul, kana); at last
charset-normalizer, among the encodings that text is really kept in. Left to choose among all that Python
knows, it takes German for Nokia's roman8 and short Japanese for Korean.
"""

import codecs
import re
from collections.abc import Iterator
from encodings.aliases import aliases
from typing import BinaryIO

import charset_normalizer

from indexers.errors import DamagedMediaError, MediaLimitError

SAMPLE_BYTES = 64 * 1024
"""How much of a file is enough to tell its encoding."""

_CHUNK_BYTES = 256 * 1024

_MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),  # before UTF-16, whose mark it begins with
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
    (b"\x84\x31\x95\x33", "gb18030"),
)

_CONTROLS = re.compile(rb"[\x00-\x06\x0e-\x1a\x1c-\x1f\x7f]")
_MAX_CONTROL_SHARE = 0.005
"""Of a byte encoding's text. Compressed data have a tenth."""

_UNREADABLE = re.compile("[\\x00-\\x06\\x0e-\\x1a\\x1c-\\x1f\\x7f\ufffd]")
_MAX_UNREADABLE_SHARE = 0.05
"""Of the decoded characters, from `_MIN_JUDGED` on and at the end."""
_MIN_JUDGED = 1000
_PRIVATE = re.compile("[\ue000-\uf8ff]")
"""Stands for a tenth of random bytes as UTF-16, and for hardly any character that is written."""

_WIDE = re.compile(
    "[\t-\r\x20-\x7e\xa0-\u036f\u0370-\u052f\u0590-\u06ff\u0900-\u0dff\u0e00-\u0e7f\u1e00-\u206f\u2100-\u214f"
    "\u2500-\u25ff\u3000-\u30ff\u3105-\u312f\u4e00-\u9fff\uac00-\ud7a3\ufe30-\ufe4f\uff00-\uffef]"
)
"""Where the characters of everyday text lie. Half of random bytes read as UTF-16 do."""
_MIN_WIDE_SHARE = 0.95

_DOUBLE_BYTE = {
    # Encoding: pairs of bytes that stand for its frequent characters, as regular expressions.
    "euc_kr": rb"[\xa1-\xa3\xb0-\xc8][\xa1-\xfe]",
    "euc_jp": rb"[\xa1-\xa5][\xa1-\xfe]",
    "shift_jis": rb"[\x82\x83][\x40-\xfc]|\x81[\x40-\x97]",
    "gb18030": rb"[\xa1\xa3\xb0-\xd7][\xa1-\xfe]",
    "big5": rb"[\xa1-\xa3][\x40-\x7e\xa1-\xfe]|[\xa4-\xc6][\x40-\x7e\xa1-\xfe]",
}
_FREQUENT = {name: re.compile(pairs, re.DOTALL) for name, pairs in _DOUBLE_BYTE.items()}
_PAIRS = {
    name: re.compile(rb"[\x81-\x9f\xe0-\xfc][\x40-\xfc]|[\xa1-\xdf]", re.DOTALL)
    if name == "shift_jis"
    else re.compile(rb"[\x81-\xfe][\x40-\xfe]", re.DOTALL)
    for name in _DOUBLE_BYTE
}
_MIN_FREQUENT = {"euc_kr": 0.9, "euc_jp": 0.4, "shift_jis": 0.4, "gb18030": 0.8, "big5": 0.8}
"""Least share of frequent characters. Japanese writes half of a text in kana, Korean nearly all in hangul."""
_DECODERS = {"euc_kr": "cp949", "shift_jis": "cp932", "big5": "big5hkscs"}
"""The supersets that files of these encodings are really in."""
_MIN_LEAD = 0.1
"""By how much the better of GB 2312 and Big5 must win."""

_MIN_HIGH_SHARE = 0.3
"""Least share of bytes that are not ASCII in Chinese, Japanese and Korean; Latin alphabets stay below it."""

_LATIN = (
    # Encodings, and the letters beside a to z of the languages that are kept in them; the commonest first.
    (
        ("cp1252",),
        ("äöüß", "àâæçèéêëîïôœùûüÿ", "áéíñóúüºª", "àáâãçéêíóôõúü", "àèéìòùî", "åäöéü", "æøåéäö",
         "áäéèëíïóöúü", "àçèéíïòóúü", "áðéíóúýþæö"),
    ),
    (
        ("cp1250", "iso8859_2"),
        ("ąćęłńóśźż", "áčďéěíňóřšťúůýž", "áéíóöőúüű", "áäčďéíĺľňóôŕšťúýž", "ăâîşţ", "čćđšž"),
    ),
    (("cp1254",), ("çğıöşüâîû",)),
    (("cp1257",), ("āčēģīķļņšūž", "ąčęėįšųūž", "äöõüšž")),
    (("cp1258",), ("ăâđêôơưáàéèíóúùýãõ\u0300\u0301\u0303\u0309\u0323",)),
)  # fmt: skip
_MARKS_OF_ALL = frozenset(
    "\xa0¡§©«®°·»¿\u2013\u2014\u2018\u2019\u201a\u201c\u201d\u201e\u2022\u2026\u20ac\u0307"
)
_MIN_LETTERS_SHARE = 0.95

_CANDIDATES = [
    "gb18030", "big5", "cp932", "euc_jp", "cp949", "cp1251", "koi8_r", "koi8_u", "iso8859_5", "cp866",
    "cp1252", "cp1250", "iso8859_2", "cp1253", "cp1254", "cp1255", "cp1256", "cp1257", "cp1258", "cp874",
]  # fmt: skip
_SUPERSETS = {
    # What browsers read under these names: https://encoding.spec.whatwg.org/#names-and-labels
    "gb2312": "gb18030", "gbk": "gb18030", "x_gbk": "gb18030", "big5": "big5hkscs", "shift_jis": "cp932",
    "x_sjis": "cp932", "euc_kr": "cp949", "latin_1": "cp1252", "ascii": "cp1252", "iso8859_9": "cp1254",
    "iso8859_11": "cp874", "tis_620": "cp874",
}  # fmt: skip
_DECLARABLE = frozenset(
    {"utf_8", "iso2022_jp", "big5hkscs", "iso8859_3", "iso8859_4", "iso8859_6", "iso8859_7", "iso8859_8",
     "iso8859_10", "iso8859_13", "iso8859_14", "iso8859_15", "iso8859_16", "mac_roman", "mac_cyrillic"}
    | {*_CANDIDATES} - {"big5"}
)  # fmt: skip
_MIN_ASCII_SHARE = 0.7
"""Text that nothing fits is taken for Western (as browsers do) if it is at least so much ASCII."""


def mark(head: bytes) -> tuple[str, int]:
    """Return the encoding that a byte order mark names and the mark's length; ``("", 0)`` without one."""
    return next(((name, len(bom)) for bom, name in _MARKS if head.startswith(bom)), ("", 0))


def detect(sample: bytes) -> str | None:
    """Return the encoding of a text's first bytes, as Python calls it; None if this looks like no text.

    Args:
        sample: It may end within a character. The longer, the surer: from 200 characters on few are mistaken.
    """
    named, _ = mark(sample)
    if named:
        return named if _fits(sample, named) else None
    if not sample:
        return None
    controls = len(_CONTROLS.findall(sample))
    if controls > _MAX_CONTROL_SHARE * len(sample) + 1:
        if _CONTROLS.sub(b"", sample).isascii() and controls < 0.25 * len(sample):
            return "utf-8" if controls <= _MAX_UNREADABLE_SHARE * len(sample) else None
        return _wide(sample)
    if sample.isascii():
        japanese = re.search(rb"\x1b\$[@B]", sample) and _errors(sample, "iso2022_jp") == 0
        return "iso2022_jp" if japanese else "utf-8"
    high = len(re.findall(rb"[\x80-\xff]", sample))
    if _errors(sample, "utf-8") <= 0.02 * high:
        return "utf-8"
    if high >= _MIN_HIGH_SHARE * len(sample):
        return _double_byte(sample) or _guess(sample, high)
    return _latin(sample) or _guess(sample, high)


def _errors(sample: bytes, encoding: str) -> int:
    """How many places of the sample the encoding cannot read; its end may cut a character."""
    decoder = codecs.getincrementaldecoder(encoding)("replace")
    return decoder.decode(sample).count("\ufffd")


def _fits(sample: bytes, encoding: str) -> bool:
    text = codecs.getincrementaldecoder(encoding)("replace").decode(sample)
    odd = len(_UNREADABLE.findall(text)) + len(_PRIVATE.findall(text))
    return odd <= _MAX_UNREADABLE_SHARE * len(text) + 1


def _wide(sample: bytes) -> str | None:
    """Tell UTF-16 and UTF-32 without a mark from binary data."""
    best, best_share = None, _MIN_WIDE_SHARE
    for encoding, width in (("utf-32-le", 4), ("utf-32-be", 4), ("utf-16-le", 2), ("utf-16-be", 2)):
        whole = sample[: len(sample) // width * width]
        try:
            text = codecs.getincrementaldecoder(encoding)().decode(whole)
        except UnicodeDecodeError:
            continue
        share = len(_WIDE.findall(text)) / max(1, len(text))
        # Latin text of the other byte order is all within the ideographs: the one with line ends, blanks and
        # punctuation is right.
        if text and share >= best_share and _spaced(text) >= (_spaced(_swapped(whole, encoding))):
            best, best_share = encoding, share
    return best


def _spaced(text: str) -> int:
    return len(re.findall("[\t\n\r ,.\u3000-\u3002\uff0c]", text))


def _swapped(sample: bytes, encoding: str) -> str:
    other = encoding[:-2] + ("be" if encoding.endswith("le") else "le")
    return codecs.getincrementaldecoder(other)("replace").decode(sample)


def _double_byte(sample: bytes) -> str | None:
    """Tell the encodings of Chinese, Japanese and Korean by what is frequent in them."""
    shares = {}
    for name, pairs in _PAIRS.items():
        found = pairs.findall(sample)
        decoder = _DECODERS.get(name, name)
        if found and _errors(sample, decoder) <= 0.01 * len(found):
            frequent = sum(1 for pair in found if _FREQUENT[name].fullmatch(pair))
            shares[name] = frequent / len(found)
    for name in ("euc_kr", "euc_jp", "shift_jis"):
        if shares.get(name, 0.0) >= _MIN_FREQUENT[name]:
            return _DECODERS.get(name, name)
    simplified, traditional = shares.get("gb18030", 0.0), shares.get("big5", 0.0)
    name = "gb18030" if simplified > traditional else "big5"
    clear = abs(simplified - traditional) >= _MIN_LEAD
    return _DECODERS.get(name, name) if clear and shares[name] >= _MIN_FREQUENT[name] else None


def _latin(sample: bytes) -> str | None:
    """Tell the encodings of Latin alphabets by whether one language has all the letters that come out."""
    best, best_share = None, _MIN_LETTERS_SHARE
    for names, languages in _LATIN:
        for encoding in names:
            text = sample.decode(encoding, "replace").lower()
            letters = [character for character in text if character > "\x7f"]
            letters = [letter for letter in letters if letter not in _MARKS_OF_ALL]
            for language in languages:
                share = sum(letter in language for letter in letters) / max(1, len(letters))
                if share > best_share:
                    best, best_share = encoding, share
    return best


def _guess(sample: bytes, high: int) -> str | None:
    best = charset_normalizer.from_bytes(
        sample[: SAMPLE_BYTES // 4], cp_isolation=_CANDIDATES, preemptive_behaviour=False
    ).best()
    if best is not None:
        return best.encoding
    return "cp1252" if len(sample) - high >= _MIN_ASCII_SHARE * len(sample) else None


def sample_of(source: BinaryIO, *, max_characters: int) -> bytes:
    """Return what tells a file's encoding: its beginning, or where the first byte stands that is not ASCII.

    Raises:
        MediaLimitError: If more than `max_characters` of ASCII come first.
    """
    source.seek(0)
    head = source.read(SAMPLE_BYTES)
    if not head.isascii() or b"\x1b$" in head or b"\0" in head:
        return head
    chunk, passed = head, 0
    while chunk and chunk.isascii():
        passed += len(chunk)
        if passed > max_characters:
            raise too_long(max_characters)
        chunk = source.read(_CHUNK_BYTES)
    if not chunk:
        return head
    first = re.search(rb"[\x80-\xff]", chunk)
    source.seek(passed + (first.start() if first else 0))
    return source.read(SAMPLE_BYTES)


def decoded(source: BinaryIO, encoding: str) -> Iterator[str]:
    """Yield a file's text from its beginning; bytes that make no sense become U+FFFD.

    A byte order mark is not part of the text. Line ends stay as they are.

    Raises:
        DamagedMediaError: If more than a twentieth of the characters are unreadable: replaced, or control
            codes. Judged from 1,000 characters on, and at the end.
    """
    source.seek(0)
    _, skip = mark(source.read(4))
    source.seek(skip)
    decoder = codecs.getincrementaldecoder(encoding)("replace")
    total = unreadable = 0
    while True:
        chunk = source.read(_CHUNK_BYTES)
        text = decoder.decode(chunk, final=not chunk)
        total += len(text)
        unreadable += len(_UNREADABLE.findall(text))
        judged = total >= _MIN_JUDGED or not chunk
        if judged and unreadable > _MAX_UNREADABLE_SHARE * total:
            raise DamagedMediaError(
                f"{unreadable} of the first {total} characters are unreadable as {encoding}: this is no "
                "text, or it is damaged; save it again as UTF-8"
            )
        if text:
            yield text
        if not chunk:
            return


def too_long(max_characters: int) -> MediaLimitError:
    """Make the error for a text with more than `max_characters`."""
    return MediaLimitError(f"the text has more than {max_characters:,} characters: send it in parts")


def usable(label: str, sample: bytes) -> str | None:
    """Return the encoding that a page says it is in; None if it is none of text, or does not fit the sample.

    Only names from a fixed list are looked up: to look up any other, Python would open files.
    """
    name = label.lower().replace("-", "_")
    name = aliases.get(name, name)
    name = _SUPERSETS.get(name, name)
    return name if name in _DECLARABLE and _fits(sample, name) else None


def prepare() -> None:
    """Load every decoder, and run the detector once, so that nothing is loaded late."""
    for name in _DECLARABLE | {"utf-16-le", "utf-16-be", "utf-32-le", "utf-32-be"}:
        codecs.lookup(name)
    _guess(b"\xc4\xd0\xd7\xc2 \xc1\xce\xc4 " * 20, 120)
