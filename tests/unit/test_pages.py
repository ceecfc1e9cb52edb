"""Page tokens go with their filters and are nobody else's."""

from uuid import uuid4

import pytest

from service.errors import InvalidRequestError
from service.rpc.pages import read_token, token


def test_a_token_comes_back_as_its_id() -> None:
    last = uuid4()
    assert read_token(token(last, ("studio", "")), ("studio", "")) == last
    assert read_token("", ("studio", "")) is None


@pytest.mark.parametrize("text", ["x", "AAAA", "é", "a" * 1000])
def test_other_text_is_refused(text: str) -> None:
    with pytest.raises(InvalidRequestError, match="page_token"):
        read_token(text, ())


def test_other_filters_are_refused() -> None:
    with pytest.raises(InvalidRequestError, match="other filters"):
        read_token(token(uuid4(), ("studio", "")), ("", "studio"))
