"""How pages tell who did something, and how they hold texts of others together."""

import pytest

from service.web.naming import called
from service.web.render import together
from service.web.visits import isolated

KEY = "0a1b2c3d4e5f6071"


@pytest.mark.parametrize(
    ("key_id", "name"), [(KEY, "Mei Lin"), ("f" * 16, "ffffffff"), ("anonymous", "anonymous")]
)
def test_people_are_called_by_name_or_the_first_digits_of_their_key(key_id: str, name: str) -> None:
    assert called({KEY: "Mei Lin"}, key_id) == name


def test_names_from_right_to_left_leave_the_sentence_as_it_is() -> None:
    assert isolated("Mei Lin 林美") == "Mei Lin 林美"
    assert isolated("علي") == "\u2068علي\u2069"
    assert isolated("Ali علي") == "\u2068Ali علي\u2069"


def test_numbers_are_not_torn_from_their_signs() -> None:
    assert together("is > 99.9 % sure, < 0.1 % not") == "is >\u00a099.9\u00a0% sure, <\u00a00.1\u00a0% not"
