"""Sheets as pages to be printed: one file of HTML that needs nothing beside it."""

import base64
import hashlib
from collections.abc import Iterable, Mapping
from importlib.resources import files
from typing import Any, Final

from jinja2 import Environment, PackageLoader
from markupsafe import Markup

from service.evidence.sheet import Picture

_STYLE: Final = files("service.evidence").joinpath("page.css").read_text(encoding="utf-8")
_ENVIRONMENT: Final = Environment(loader=PackageLoader("service.evidence", ""), autoescape=True)

CONTENT_SECURITY_POLICY: Final = (
    "default-src 'none'; img-src data:; style-src 'sha256-"
    + base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode("ascii")
    + "'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
"""The ``Content-Security-Policy`` that a page is to be served with: its own style, and pictures inside it."""


def render(sheet: Mapping[str, Any], pictures: Iterable[Picture]) -> str:
    """The page of a sheet.

    Args:
        sheet: As `service.evidence.sheet.lay_out` makes it.
        pictures: Those that it names.
    """
    inside = {
        one.file: f"data:{one.media_type};base64,{base64.b64encode(one.content).decode('ascii')}"
        for one in pictures
    }
    return _ENVIRONMENT.get_template("page.html").render(
        sheet=sheet,
        pictures=inside,
        style=Markup(_STYLE),  # noqa: S704  our own file
    )
