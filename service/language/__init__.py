"""Texts for people, in their language: catalogues, and what measurements mean in words.

English is the language of the messages themselves. Every other language has a catalogue for each domain,
below ``locale/``: ``report`` (reports, their measurements) and ``pages``. After a change of messages,
``python -m service.language.update`` brings the catalogues up to date and compiles them.
"""

from service.language.explain import (
    Explanation,
    Telling,
    explain_coverage,
    explain_parts,
    explain_probability,
    explain_segment,
    explain_signal,
    explain_signals,
    explain_transform,
    likelihood,
    name_signal,
    percent,
)
from service.language.words import DEFAULT_LANGUAGE, LANGUAGES, Words, preferred, words

__all__ = [
    "DEFAULT_LANGUAGE",
    "LANGUAGES",
    "Explanation",
    "Telling",
    "Words",
    "explain_coverage",
    "explain_parts",
    "explain_probability",
    "explain_segment",
    "explain_signal",
    "explain_signals",
    "explain_transform",
    "likelihood",
    "name_signal",
    "percent",
    "preferred",
    "words",
]
