"""Names of states, outcomes, reasons and events, in the visitor's language."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Final

from service.errors import CaseHeldError, InvalidRequestError, ServiceError
from service.language import DEFAULT_LANGUAGE, Words, likelihood, name_signal, words
from service.language.explain import noted
from service.previewed import PreviewState
from service.reviewed import CaseOrder, CaseState, Event, Outcome

_OUTCOMES: Final[Mapping[Outcome, str]] = {
    Outcome.INFRINGING: noted("Infringing"),
    Outcome.LICENSED: noted("Licensed"),
    Outcome.FAIR_USE: noted("Fair use"),
    Outcome.WRONG_MATCH: noted("Wrong match"),
    Outcome.NEED_MORE: noted("Need more"),
}
_REASONS: Final[Mapping[str, str]] = {
    "FULL_COPY": noted("Full copy"),
    "EXCERPT": noted("Excerpt"),
    "ALTERED_COPY": noted("Altered copy"),
    "LICENCE_EXCEEDED": noted("Licence exceeded"),
    "LICENCE_ON_FILE": noted("Licence on file"),
    "OWN_CHANNEL": noted("Own channel"),
    "PARTNER": noted("Partner"),
    "QUOTATION": noted("Quotation"),
    "PARODY": noted("Parody"),
    "NEWS": noted("News"),
    "EDUCATION": noted("Education"),
    "OTHER_WORK": noted("Another work"),
    "SHARED_ELEMENT": noted("Shared element"),
    "COMMON_MATERIAL": noted("Common material"),
    "PUBLIC_DOMAIN": noted("Public domain"),
    "ASK_OWNER": noted("Ask the owner"),
    "ASK_PLATFORM": noted("Ask the platform"),
    "UNCLEAR_EVIDENCE": noted("Unclear evidence"),
    "LEGAL_ADVICE": noted("Legal advice"),
    "OTHER": noted("Other"),
}
_STATES: Final[Mapping[str, str]] = {
    CaseState.OPEN.value: noted("Open"),
    CaseState.WAITING.value: noted("Waiting"),
    CaseState.DECIDED.value: noted("Decided"),
    "all": noted("All"),
}
_MODALITIES: Final[Mapping[str, str]] = {
    "image": noted("Picture"),
    "video": noted("Film"),
    "audio": noted("Sound"),
    "text": noted("Text"),
    "container": noted("Container"),
}
_ORDERS: Final[Mapping[CaseOrder, str]] = {
    CaseOrder.NEWEST: noted("Newest first"),
    CaseOrder.PROBABLE: noted("Most probable first"),
    CaseOrder.DUE: noted("Due first"),
}
_EVENTS: Final[Mapping[str, str]] = {
    "OPENED": noted("Opened"),
    "REOPENED": noted("Opened again"),
    "REPORT_ADDED": noted("Report added"),
    "REPORT_SETTLED": noted("Report settled by an earlier decision"),
    "DECIDED": noted("Decided"),
    "UNDONE": noted("Decision undone"),
    "ASSIGNED": noted("Assigned"),
    "DUE_SET": noted("Due date set"),
    "COMMENTED": noted("Comment"),
    "SUPPRESSED": noted("Suppressed"),
    "UNSUPPRESSED": noted("Suppression ended"),
}
_RUNS: Final[Mapping[str, str]] = {
    "pending": noted("waits"),
    "running": noted("runs"),
    "done": noted("done"),
    "failed": noted("failed"),
    "cancelled": noted("cancelled"),
}
_ROLES: Final[Mapping[str, str]] = {
    "owner": noted("Owner"),
    "investigator": noted("Investigator"),
    "admin": noted("Administrator"),
}
_PREVIEWS: Final[Mapping[PreviewState, str]] = {
    PreviewState.PENDING: noted(
        "The preview is still being made. This page shows it as soon as it is there."
    ),
    PreviewState.FAILED: noted("No preview could be made."),
    PreviewState.NOT_KEPT: noted("The owner asked for no previews."),
    PreviewState.ABSENT: noted("There is no preview: only fingerprints were registered."),
    PreviewState.DELETED: noted("The media was deleted."),
    PreviewState.READY: noted("There is no preview of this kind."),
}
_ERRORS: Final[Mapping[str, str]] = {
    "INVALID_REQUEST": noted("Something in the form is not right."),
    "UNAUTHENTICATED": noted("The key is not valid, or was revoked."),
    "FORBIDDEN": noted("Your key does not allow this."),
    "QUOTA_EXCEEDED": noted("Too many attempts. Wait a minute."),
    "NOT_FOUND": noted("There is no such thing, or it is not yours to see."),
    "STALE": noted("Something happened here since you looked. This is how it is now."),
    "CASE_HELD": noted("Somebody else has this case."),
    "BUSY": noted("The server is busy. Try again."),
    "STORAGE_FULL": noted("The disk of the server is full. Nothing was changed."),
    "INTERNAL": noted("Something went wrong here. It was logged."),
}
_FIELDS: Final[Mapping[str, str]] = {
    "assignee": noted("Choose somebody who may decide this case."),
    "case": noted("Choose 1 to 1,000 cases, each of them once."),
    "cases": noted("Choose 1 to 1,000 cases, each of them once."),
    "due": noted("A date looks like this: 2026-12-31."),
    "note": noted("A note has at most 10,000 characters."),
    "outcome": noted("Choose what the case is."),
    "query": noted("This filter is too long to be kept."),
    "reason": noted("This reason belongs to another decision. Choose one of its own, or none."),
    "subject": noted("There is no such reference or work."),
    "text": noted("A comment has 1 to 10,000 characters."),
    "title": noted("A title has 1 to 200 characters, and at most 100 views can be saved."),
}
"""What is wrong with a field of a form."""
_MEDIA: Final[Mapping[str, str]] = {
    "MEDIA_UNSUPPORTED": noted("The format is not known."),
    "MEDIA_DAMAGED": noted("The file is broken, or was cut off."),
    "MEDIA_LIMIT": noted("It needs more pixels or memory than the server allows."),
    "MEDIA_TIMEOUT": noted("Reading it took longer than the server allows."),
    "MEDIA_CRASHED": noted("Reading it ended the process that tried."),
    "MEDIA_FEATURELESS": noted("There is nothing to be seen in it."),
    "MEDIA_TOO_LARGE": noted("The file is larger than the server takes."),
    "SOURCE_LOST": noted("What it was to be made of is gone."),
}
"""Why there is no preview, by the code that the reason begins with."""
_CUSTODY: Final[Mapping[str, str]] = {
    "RECEIVED": noted("Received"),
    "FINGERPRINTED": noted("Fingerprinted"),
    "UNREADABLE": noted("Could not be read"),
    "EXPORTED": noted("Handed over"),
}
_CAPTURED: Final[Mapping[str, str]] = {
    "content_type": noted("Type, as the site said"),
    "crawler": noted("Crawler"),
    "place_id": noted("Place in the list"),
    "remote_address": noted("Address of the site's server"),
    "requested_url": noted("Address that was asked for"),
}
_HELD: Final = noted("%(who)s has this case until %(time)s UTC")


_TOLD: Final = frozenset({"outcome", "reason", "probability", "note", "text"})
_FACTS: Final[Mapping[str, str]] = {
    "report": noted("report"),
    "reports": noted("reports:"),
    "settled_by": noted("by the decision in case"),
    "instead_of": noted("in place of decision №"),
    "decision": noted("decision №"),
    "batch": noted("in batch"),
    "assignee": noted("to"),
    "due": noted("until"),
}
_TIME: Final = re.compile(r"\d{4}-\d\d-\d\dT")
_KEY_ID: Final = re.compile(r"[0-9a-f]{16}")
_ID: Final = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


@dataclass(frozen=True, slots=True)
class Names:
    """Names in one language; a name that is not known is shown as it is."""

    words: Words

    def outcome(self, one: Outcome | str) -> str:
        """Of an outcome."""
        return self.words.gettext(_OUTCOMES[Outcome(one)])

    def reason(self, code: str) -> str:
        """Of a reason code."""
        return self._of(_REASONS, code)

    def state(self, state: str) -> str:
        """Of a state of cases."""
        return self._of(_STATES, str(state))

    def modality(self, modality: str) -> str:
        """Of a kind of media."""
        return self._of(_MODALITIES, modality)

    def role(self, role: str) -> str:
        """Of a role of keys."""
        return self._of(_ROLES, str(role))

    def run(self, state: str) -> str:
        """Of how far a run is."""
        return self._of(_RUNS, state)

    def order(self, order: CaseOrder) -> str:
        """Of an order of cases."""
        return self.words.gettext(_ORDERS[order])

    def event(self, action: str) -> str:
        """Of something that happened."""
        return self._of(_EVENTS, action)

    def preview(self, state: PreviewState) -> str:
        """Why there is nothing to see."""
        return self.words.gettext(_PREVIEWS[state])

    def error(self, error: ServiceError) -> str:
        """What went wrong, in general; `detail` says it exactly."""
        return self._of(_ERRORS, error.reason)

    def detail(self, error: ServiceError, people: Mapping[str, str]) -> str:
        """What went wrong, exactly; in other languages than English only where there are words for it."""
        if isinstance(error, CaseHeldError):
            holder, until = error.metadata.get("holder", ""), error.metadata.get("until", "")
            who = called(people, holder)
            return self.words.text(_HELD, who=who, time=until[:16].replace("T", " "))
        if isinstance(error, InvalidRequestError) and error.field in _FIELDS:
            return self.words.gettext(_FIELDS[error.field])
        return str(error) if self.words.language == DEFAULT_LANGUAGE else ""

    def media(self, reason: str) -> str:
        """Why a preview could not be made."""
        code = reason.partition(":")[0]
        return self.words.gettext(_MEDIA[code]) if code in _MEDIA else reason

    def custody(self, action: str) -> str:
        """Of something that happened to a capture."""
        return self._of(_CUSTODY, action)

    def captured(self, name: str) -> str:
        """Of a fact of a capture."""
        return self._of(_CAPTURED, name)

    def band(self, key: str) -> str:
        """Of a band of a measurement's values, such as ``pdq_distance [4, 5)``."""
        name, _, values = key.partition(" ")
        said = name_signal(words(self.words.language, "report"), name)
        return f"{said}: {values.strip('[)= ').replace(', ', ' – ')}"

    def facts(self, event: Event, people: Mapping[str, str]) -> str:
        """What an event says besides: outcome, reason, note, and so on.

        Args:
            event: The event.
            people: Who has which key, by the keys' ids.
        """
        facts = event.facts
        shown = []
        if facts.get("outcome") in set(Outcome):
            shown.append(self.outcome(facts["outcome"]))
        if facts.get("reason") in _REASONS:
            shown.append(self.reason(facts["reason"]))
        if isinstance(facts.get("probability"), float):
            shown.append(likelihood(facts["probability"]))
        shown += [f"“{facts[name]}”" for name in ("note", "text") if facts.get(name)]
        for name, value in facts.items():
            if name in _TOLD or value in (None, "", []):
                continue
            told = called(people, value) if name == "assignee" else value
            shown.append(f"{self._of(_FACTS, name)} {_brief(told)}")
        return " · ".join(shown)

    def _of(self, table: Mapping[str, str], key: str) -> str:
        return self.words.gettext(table[key]) if key in table else key


def _brief(value: object) -> str:
    """A fact of an event: ids by their last digits, times to the day, (case, number) of a decision."""
    if isinstance(value, dict) and "case" in value:
        return f"{str(value['case'])[-8:]} № {value.get('number', '')}"
    text = value if isinstance(value, str) else json.dumps(value)
    if _ID.fullmatch(text):
        return text[-8:]  # they begin with the time: those of one hour begin alike
    return text[:10] if _TIME.match(text) else text


def called(people: Mapping[str, str], key_id: str) -> str:
    """The name of who has a key, else the first digits of its id; what is no id as it is."""
    return people.get(key_id) or (key_id[:8] if _KEY_ID.fullmatch(key_id) else key_id)


@cache
def named(words: Words) -> Names:
    """The names of a language."""
    return Names(words)
