"""Names of states, outcomes, reasons and events, in the visitor's language."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Final

from service.errors import ServiceError
from service.language import Words, likelihood
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
}


_TOLD: Final = frozenset({"outcome", "reason", "probability", "note", "text"})
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
        """What went wrong, in general; the error's own text is English and says it exactly."""
        return self._of(_ERRORS, error.reason)

    def facts(self, event: Event) -> str:
        """What an event says besides: outcome, reason, note, and so on."""
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
            text = value if isinstance(value, str) else json.dumps(value)
            shown.append(f"{name}: {text[:8] if _ID.fullmatch(text) else text}")
        return " · ".join(shown)

    def _of(self, table: Mapping[str, str], key: str) -> str:
        return self.words.gettext(table[key]) if key in table else key


@cache
def named(words: Words) -> Names:
    """The names of a language."""
    return Names(words)
