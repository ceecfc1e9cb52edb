"""Catalogues of messages, by language and domain."""

import gettext
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import Final

DEFAULT_LANGUAGE: Final = "en"
"""The language that messages are written in."""
LANGUAGES: Final[Mapping[str, str]] = MappingProxyType({"en": "English", "zh": "简体中文"})
"""The languages there are, by BCP 47 tag, each with its own name."""
DOMAINS: Final = ("report", "pages")
"""The catalogues of a language."""
LOCALE: Final = Path(__file__).parent / "locale"
"""Where the catalogues are."""


@dataclass(frozen=True, slots=True)
class Words:
    """One catalogue in one language.

    Attributes:
        language: BCP 47 tag, one of `LANGUAGES`.
        catalogue: Its messages; a message that is not in it stays English.
    """

    language: str
    catalogue: gettext.NullTranslations

    def gettext(self, message: str) -> str:
        """The message in this language, placeholders as they are; what Jinja calls."""
        return self.catalogue.gettext(message)

    def ngettext(self, one: str, many: str, num: int) -> str:
        """The message for a count in this language, placeholders as they are; what Jinja calls."""
        return self.catalogue.ngettext(one, many, num)

    def text(self, message: str, /, **values: object) -> str:
        """The message in this language, its placeholders, such as ``%(name)s``, filled in."""
        return self.gettext(message) % values

    def plural(self, one: str, many: str, num: int, /, **values: object) -> str:
        """The message for a count in this language; ``%(num)s`` is the count, with its thousands grouped."""
        return self.ngettext(one, many, num) % {"num": f"{num:,}", **values}


@cache
def words(language: str, domain: str) -> Words:
    """The catalogue of a language.

    Args:
        language: One of `LANGUAGES`.
        domain: One of `DOMAINS`.

    Raises:
        ValueError: If there is no such language or domain.
    """
    if language not in LANGUAGES or domain not in DOMAINS:
        raise ValueError(f"there is no catalogue {domain!r} in {language!r}")
    if language == DEFAULT_LANGUAGE:
        return Words(language, gettext.NullTranslations())
    with (LOCALE / language / "LC_MESSAGES" / f"{domain}.mo").open("rb") as file:
        return Words(language, gettext.GNUTranslations(file))


def preferred(accepted: str) -> str:
    """The language of `LANGUAGES` that an ``Accept-Language`` header asks for most; else the default.

    Regions and scripts are left aside: ``zh-TW`` is given ``zh``.
    """
    best, most = DEFAULT_LANGUAGE, 0.0
    for part in accepted.split(",")[:32]:
        tag, _, weight = part.partition(";q=")
        try:
            quality = float(weight) if weight else 1.0
        except ValueError:
            continue
        language = tag.strip().lower().partition("-")[0]
        if language in LANGUAGES and quality > most:
            best, most = language, quality
    return best
