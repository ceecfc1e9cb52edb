"""Templates: pages in a language, with everything escaped."""

import hashlib
import json
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from jinja2 import Environment, FileSystemLoader, StrictUndefined, pass_context, select_autoescape
from jinja2.runtime import Context

from service.language import LANGUAGES, Words, likelihood, words
from service.reviewed import ANONYMOUS, SERVER
from service.web.naming import called

_HERE: Final = Path(__file__).parent
STATIC: Final = _HERE / "static"
"""Folder of style sheets and scripts."""


@cache
def static_version() -> str:
    """Digest of all static files: in their addresses, so that browsers may keep them for ever."""
    digest = hashlib.sha256()
    for path in sorted(STATIC.rglob("*")):
        if path.is_file():
            digest.update(path.relative_to(STATIC).as_posix().encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()[:16]


@cache
def environment(language: str) -> Environment:
    """Templates of a language, one of `LANGUAGES`."""
    catalogue = words(language, "pages")
    made = Environment(
        loader=FileSystemLoader(_HERE / "templates"),
        autoescape=select_autoescape(default=True, default_for_string=True),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        extensions=["jinja2.ext.i18n"],
    )
    i18n: Any = made
    i18n.install_gettext_callables(catalogue.gettext, catalogue.ngettext, newstyle=True)
    made.policies["ext.i18n.trimmed"] = True

    @pass_context
    def person(context: Context, key_id: str) -> str:
        """Who did something, or is to: the name of who has the key, else the first digits of its id."""
        visit = context["visit"]
        if visit is not None and key_id == visit.actor.id:
            return catalogue.text("you")
        if key_id == SERVER:
            return catalogue.text("server")
        if key_id == ANONYMOUS:
            return catalogue.text("anonymous")
        return called(context["people"], key_id)

    made.filters.update(
        moment=moment,
        day=day,
        likelihood=likelihood,
        percent=percent,
        size=size,
        count=count,
        json=as_json,
        short=short,
        together=together,
        web=web_address,
        person=person,
    )
    made.globals.update(language=language, languages=LANGUAGES, static=f"/static/{static_version()}")
    return made


def render(language: str, template: str, values: Mapping[str, Any]) -> str:
    """A page's HTML."""
    return environment(language).get_template(template).render(values)


def wording(language: str) -> Words:
    """The catalogue of the pages."""
    return words(language, "pages")


def moment(at: datetime) -> str:
    """``2026-11-22 14:03``, UTC."""
    return at.astimezone(UTC).strftime("%Y-%m-%d %H:%M")


def day(at: datetime) -> str:
    """``2026-11-22``, UTC."""
    return at.astimezone(UTC).strftime("%Y-%m-%d")


def percent(share: float) -> str:
    """A share of what was counted: ``97 %``; never 100 or 0 where it is not quite that."""
    value = round(100 * share)
    if value == 100 and share < 1:
        return "> 99 %"
    return "< 1 %" if value == 0 and share > 0 else f"{value} %"


def size(byte_count: int) -> str:
    """``3.4 MB``."""
    value = float(byte_count)
    for unit in ("bytes", "kB", "MB"):
        if value < 1000:
            return f"{value:.0f} {unit}" if unit == "bytes" else f"{value:.3g} {unit}"
        value /= 1000
    return f"{value:.3g} GB"


def count(number: int) -> str:
    """``12,345``."""
    return f"{number:,}"


def short(digest: bytes) -> str:
    """The first digits of a digest, in hexadecimal."""
    return digest.hex()[:12]


def together(text: str) -> str:
    """A sentence whose numbers are not torn from their signs where a line ends."""
    return text.replace(" %", "\u00a0%").replace("> ", ">\u00a0").replace("< ", "<\u00a0")


def as_json(value: Any) -> str:
    """JSON, for an attribute: the template escapes it."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def web_address(url: str) -> str:
    """The address, where it is one that a browser may be sent to; else empty."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return ""
    return url if parts.scheme in {"http", "https"} and parts.hostname else ""
