"""Brings the catalogues up to date: ``python -m service.language.update``.

Messages are found where the code calls ``text``, ``plural``, ``noted`` or, in templates, ``_``, ``gettext``,
``ngettext`` and ``{% trans %}``. New ones are added to each language's catalogue without a translation,
those that are gone are dropped, and what is translated is compiled. Exit status 1: something is untranslated.
Needs Babel, a tool of development.
"""

import io
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from babel.messages.catalog import Catalog
from babel.messages.extract import extract_from_dir
from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po, write_po

from service.language.words import DEFAULT_LANGUAGE, DOMAINS, LANGUAGES, LOCALE

_NO_DATE: Final = datetime(2026, 1, 1, tzinfo=UTC)
_HEADER: Final = """\
# Texts of Copyhound in {name}.
msgid ""
msgstr ""
"Language: {language}\\n"
"Plural-Forms: {plural}\\n"
"MIME-Version: 1.0\\n"
"Content-Type: text/plain; charset=utf-8\\n"
"Content-Transfer-Encoding: 8bit\\n"

"""
_SERVICE: Final = Path(__file__).parents[1]
SOURCES: Final = {"report": ("language", "evidence"), "pages": ("web",)}
"""The packages below ``service`` whose messages a domain holds."""
_METHODS: Final = [
    ("**.py", "python"),
    ("**.html", "jinja2.ext.babel_extract"),
    ("**.xml", "jinja2.ext.babel_extract"),
]
_KEYWORDS: Final = {
    "_": None,
    "gettext": None,
    "ngettext": (1, 2),
    "noted": None,
    "plural": (1, 2),
    "text": None,
}


def template(domain: str) -> Catalog:
    """The messages that the code of a domain holds, without translations."""
    catalogue = Catalog(project="Copyhound", version="", charset="utf-8", fuzzy=False)
    for package in SOURCES[domain]:
        folder = _SERVICE / package
        for name, _, message, comments, context in extract_from_dir(
            str(folder), _METHODS, keywords=_KEYWORDS, options_map={"**.html": {"silent": "false"}}
        ):
            catalogue.add(
                message, None, [(f"service/{package}/{name}", 0)], auto_comments=comments, context=context
            )
    return catalogue


def path(language: str, domain: str) -> Path:
    """The catalogue's file, for people."""
    return LOCALE / language / "LC_MESSAGES" / f"{domain}.po"


def load(language: str, domain: str) -> Catalog:
    """The catalogue as it is."""
    catalogue = Catalog(locale=language)
    if path(language, domain).exists():
        with path(language, domain).open("rb") as file:
            catalogue = read_po(file, locale=language)
    # Nothing in a compiled catalogue depends on when it was made.
    catalogue.creation_date = catalogue.revision_date = _NO_DATE
    catalogue.project, catalogue.version, catalogue.fuzzy = "Copyhound", "1", False
    return catalogue


def save(language: str, domain: str, catalogue: Catalog) -> None:
    """Write the catalogue, for people and for the service."""
    target = path(language, domain)
    target.parent.mkdir(parents=True, exist_ok=True)
    with target.open("wb") as file:
        file.write(
            _HEADER.format(
                name=LANGUAGES[language], language=language, plural=catalogue.plural_forms
            ).encode()
        )
        write_po(file, catalogue, width=110, omit_header=True, sort_output=True, include_lineno=False)
    target.with_suffix(".mo").write_bytes(compiled(load(language, domain)))


def compiled(catalogue: Catalog) -> bytes:
    """The catalogue as the service reads it."""
    file = io.BytesIO()
    write_mo(file, catalogue)
    return file.getvalue()


def untranslated(catalogue: Catalog) -> Iterator[str]:
    """Messages that have no translation, or not for every count."""
    for message in catalogue:
        strings = message.string if isinstance(message.string, (tuple, list)) else (message.string,)
        if message.id and not (strings and all(strings)):
            yield str(message.id)


def main() -> int:
    """Update every catalogue; return the exit status."""
    missing = 0
    for language in LANGUAGES.keys() - {DEFAULT_LANGUAGE}:
        for domain in DOMAINS:
            catalogue = load(language, domain)
            catalogue.update(template(domain), no_fuzzy_matching=True)
            catalogue.obsolete.clear()
            save(language, domain, catalogue)
            for message in untranslated(catalogue):
                missing += 1
                sys.stderr.write(f"{path(language, domain)}: not translated: {message}\n")
    return 1 if missing else 0


if __name__ == "__main__":
    sys.exit(main())
