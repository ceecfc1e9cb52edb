import pytest
from hypothesis import given
from hypothesis import strategies as st

from indexers.text.normalise import CODE, DIGIT, IDEOGRAPH, normalise


def folded(text: str) -> str:
    return "".join(chr(symbol & CODE) for symbol in normalise(text).symbols.tolist())


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("Café, ﬁne!", "cafefine"),
        ("Ｆｕｌｌ　Ｗｉｄｔｈ", "fuiiwidth"),
        ("pay\u200bp\u202dal\u00ad", "paypai"),
        ("раураl", "paypai"),
        ("個人電腦", "个人电脑"),
        ("一〇年", "ーo年"),
        ("l0 1O", "ioio"),
        ("，。 \n\t…", ""),
        ("\ud800x", "x"),
    ],
)
def test_what_is_written_differently_reads_alike(written: str, read: str) -> None:
    assert folded(written) == read


def test_symbols_say_where_they_come_from() -> None:
    text = normalise("aﬁ 1", start=10)

    assert text.offsets.tolist() == [10, 11, 11, 13]
    assert [bool(symbol & DIGIT) for symbol in text.symbols.tolist()] == [False, False, False, True]


def test_ideographs_are_told_from_letters() -> None:
    assert [bool(symbol & IDEOGRAPH) for symbol in normalise("漢かa가").symbols.tolist()] == [
        *(True, True, False),
        *(False, False),
    ]


@given(st.text(), st.text())
def test_a_text_may_be_cut_anywhere(left: str, right: str) -> None:
    whole, first, second = normalise(left + right), normalise(left), normalise(right, len(left))

    assert whole.symbols.tolist() == [*first.symbols.tolist(), *second.symbols.tolist()]
    assert whole.offsets.tolist() == [*first.offsets.tolist(), *second.offsets.tolist()]
