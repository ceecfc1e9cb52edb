"""What parts are called, and which texts say nothing by their names."""

import re
from typing import Final

MOST_CHARACTERS: Final = 250
"""Of a label: of a longer name, the end."""

NESTED: Final = "!"
"""Stands between a container's name and that of its part."""

_UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff\u200e\u200f\u202a-\u202e\u2066-\u2069]")
"""Control characters, halves of characters, and what turns the direction of writing."""

_STOCK = re.compile(
    r"(?:.*[-_.])?(?:licen[cs]es?|copying|copyright|notices?|authors|credits|contributors|readme|changelog|"
    r"changes|install|third[-_ ]?party.*|manifest)(?:[-_.].*)?",
    re.IGNORECASE,
)
"""Texts that come with software of every kind."""

_CODE = re.compile(
    "asm|aidl|bat|c|cc|cfg|cmake|conf|cpp|cs|css|csv|dart|frag|fs|glsl|go|gradle|h|hpp|hx|ini|java|js|json|kt|less|"
    "lua|m|map|mf|mjs|mm|mo|pl|plist|po|pom|pot|prefab|pro|properties|proto|ps1|py|qml|r|rb|rs|rsa|sass|scss|sf|"
    "sh|shader|sql|svg|swift|tex|tmx|toml|ts|tsx|ttl|unity|vert|vue|xaml|xml|xsd|xsl|yaml|yml",
    re.IGNORECASE,
)
"""Endings of programs, settings and tables, which many containers share: no works of language."""


def label(name: str) -> str:
    """A part's name as people may see it: with ``/``, without ``..``, printable, of bounded length."""
    clean = _UNPRINTABLE.sub("�", name.replace("\\", "/"))
    path = "/".join(step for step in clean.split("/") if step not in ("", ".", ".."))
    return path[-MOST_CHARACTERS:]


def is_stock(name: str) -> bool:
    """Whether a text of this name comes with nearly every container, so that it says nothing about one."""
    last = name.replace("\\", "/").rpartition("/")[2]
    _, dot, ending = last.rpartition(".")
    return bool(dot and _CODE.fullmatch(ending)) or _STOCK.fullmatch(last) is not None
