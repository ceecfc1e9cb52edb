"""Encodings are told by what text looks like in them, and binary data are told from text."""

import io
import random
import zlib

import pytest

from indexers.errors import DamagedMediaError, MediaLimitError
from indexers.text import encodings
from tests.documents import CHINESE, ENGLISH

TRADITIONAL = (
    "話說天下大勢,分久必合,合久必分。周末七國分爭,並入於秦。及秦滅之後,楚、漢分爭,又並入於漢。"
    "漢朝自高祖斬白蛇而起義,一統天下,後來光武中興,傳至獻帝,遂分為三國。\n"
)
JAPANESE = (
    "吾輩は猫である。名前はまだ無い。どこで生れたかとんと見当がつかぬ。何でも薄暗いじめじめした所で。\n"
)
KOREAN = "나라의 말이 중국과 달라 한자와는 서로 잘 통하지 아니한다. 이런 까닭으로 어리석은.\n"
RUSSIAN = "Все счастливые семьи похожи друг на друга, каждая несчастливая семья по-своему.\n"
FRENCH = "Longtemps, je me suis couché de bonne heure. À peine ma bougie éteinte, très vite, où ça.\n"
POLISH = "Litwo! Ojczyzno moja! ty jesteś jak zdrowie; ile cię trzeba cenić, kto cię stracił. Żółć, źdźbło.\n"
GREEK = "Τον άνδρα πες μου, Μούσα, τον πολύτροπο, που πάρα πολλά πλανήθηκε,\n"


@pytest.mark.parametrize(
    ("text", "encoding"),
    [
        (ENGLISH, "ascii"),
        (CHINESE, "utf-8"),
        (CHINESE, "gb18030"),
        (TRADITIONAL, "gb18030"),
        (TRADITIONAL, "big5"),
        (JAPANESE, "shift_jis"),
        (JAPANESE, "euc_jp"),
        (JAPANESE, "iso2022_jp"),
        (KOREAN, "euc_kr"),
        (RUSSIAN, "cp1251"),
        (RUSSIAN, "koi8_r"),
        (RUSSIAN, "cp866"),
        (GREEK, "cp1253"),
        (FRENCH, "cp1252"),
        (POLISH, "cp1250"),
        (POLISH, "iso8859_2"),
        *(
            (text, f"utf-{form}")
            for text in (ENGLISH, CHINESE, RUSSIAN, KOREAN)
            for form in ("16-le", "16-be")
        ),
        *((text, f"utf-32-{order}") for text in (ENGLISH, CHINESE) for order in ("le", "be")),
        *((CHINESE, f"utf-{bits}") for bits in (16, 32)),
        (CHINESE, "utf-8-sig"),
    ],
)
def test_text_comes_out_as_it_was(text: str, encoding: str) -> None:
    content = text.encode(encoding)
    detected = encodings.detect(content)
    assert detected is not None
    assert "".join(encodings.decoded(io.BytesIO(content), detected)) == text
    assert encodings.detect(content[:-1]), "the sample may end within a character"


@pytest.mark.parametrize("size", [64, 4096, 65536])
def test_binary_data_are_no_text(size: int) -> None:
    noise = random.Random(size).randbytes(size)
    assert encodings.detect(noise) is None
    assert encodings.detect(zlib.compress(ENGLISH.encode() * 9 + noise)) is None
    assert encodings.detect(bytes(size)) is None
    assert encodings.detect(bytes(range(256)) * (size // 256 + 1)) is None


def test_a_mark_on_binary_data_does_not_make_it_text() -> None:
    assert encodings.detect(b"\xff\xfe" + random.Random(3).randbytes(4000)) is None
    assert encodings.detect(b"\xef\xbb\xbf" + random.Random(4).randbytes(4000)) is None


def test_text_with_a_few_nul_bytes_is_text() -> None:
    content = (ENGLISH + "\0").encode() * 3
    assert encodings.detect(content) == "utf-8"
    assert "".join(encodings.decoded(io.BytesIO(content), "utf-8")) == (ENGLISH + "\0") * 3


def test_a_few_wrong_bytes_are_replaced() -> None:
    content = CHINESE.encode().replace("。".encode(), b"\xff", 2)
    detected = encodings.detect(content)
    assert detected == "utf-8"
    assert "".join(encodings.decoded(io.BytesIO(content), detected)) == CHINESE.replace("。", "\ufffd", 2)


def test_mostly_wrong_bytes_are_damage() -> None:
    content = ENGLISH.encode() * 30 + random.Random(5).randbytes(300_000)
    with pytest.raises(DamagedMediaError, match="save it again as UTF-8"):
        list(encodings.decoded(io.BytesIO(content), "utf-8"))


def test_an_ascii_beginning_does_not_hide_the_encoding() -> None:
    content = ENGLISH.encode() * 2000 + CHINESE.encode("gb18030") * 20
    sample = encodings.sample_of(io.BytesIO(content), max_characters=10**6)
    assert encodings.detect(sample) == "gb18030"
    assert "".join(encodings.decoded(io.BytesIO(content), "gb18030")) == ENGLISH * 2000 + CHINESE * 20


def test_a_long_ascii_beginning_is_over_the_limit_before_it_is_decoded() -> None:
    with pytest.raises(MediaLimitError, match="more than 100,000 characters"):
        encodings.sample_of(io.BytesIO(b"a" * 1_000_000), max_characters=100_000)


@pytest.mark.parametrize(
    ("label", "found"),
    [
        ("GB2312", "gb18030"), ("gbk", "gb18030"), ("UTF8", "utf_8"), ("ISO-8859-1", "cp1252"),
        ("rot13", None), ("zip", None), ("punycode", None),
        ("unicode_escape", None), ("no-such", None), ("utf-16", None),
    ],
)  # fmt: skip
def test_only_encodings_of_text_can_be_declared(label: str, found: str | None) -> None:
    assert encodings.usable(label, ENGLISH.encode()) == found
