"""Decide: what is the platform asked to do? docs/guides/decisions.md explains the rules."""

from collections.abc import Collection, Iterable
from dataclasses import dataclass, replace
from datetime import datetime

from service.domain import Action, Licence, Match, Reason, Verdict

COPY_FOUND = "COPY_FOUND"
POSSIBLE_COPY = "POSSIBLE_COPY"
SAME_SCENE = "SAME_SCENE"
ACCOMPANIMENT = "ACCOMPANIMENT"
LICENSED = "LICENSED"
SUPPRESSED = "SUPPRESSED"
OUT_OF_TERRITORY = "OUT_OF_TERRITORY"
NOTHING_FOUND = "NOTHING_FOUND"

POLICY_REVISION = "2026-11-23"
"""Changes when the rules below do."""


@dataclass(frozen=True, slots=True)
class Thresholds:
    """From which probability on something is asked for.

    Attributes:
        review: A match asks for review at most, 0..1.
        action: A match asks for its work's action, where the work names no probability, 0..1.
    """

    review: float
    action: float


@dataclass(frozen=True, slots=True)
class Upload:
    """What is known of the upload besides its content.

    Attributes:
        uploader_token: Who uploads; empty: unknown.
        territories: Where it would be seen, ISO 3166-1 alpha-2; empty: everywhere.
        now: UTC.
    """

    uploader_token: str
    territories: Collection[str]
    now: datetime


def decide(
    matches: Iterable[Match], thresholds: Thresholds, upload: Upload, policy_revision: str
) -> tuple[Verdict, tuple[Match, ...]]:
    """Decide on each match, then on the whole: the most severe action wins.

    Returns:
        The verdict, and the matches with `action` and `licence` filled in, in the same order.
    """
    decided = [_decide_one(match, thresholds, upload) for match in matches]
    telling = sorted(
        ((match, reason) for match, reason in decided if reason is not None),
        key=lambda pair: (-pair[0].action, -pair[0].probability),
    )
    reasons = tuple(reason for _, reason in telling) or (
        Reason(NOTHING_FOUND, "Nothing registered was found in it."),
    )
    action = max((match.action for match, _ in decided), default=Action.ALLOW)
    return Verdict(action, reasons, policy_revision), tuple(match for match, _ in decided)


def _decide_one(match: Match, thresholds: Thresholds, upload: Upload) -> tuple[Match, Reason | None]:
    policy = match.work.policy
    action_from = policy.min_probability
    if action_from is None:
        action_from = thresholds.action
    review_from = min(thresholds.review, action_from)
    another_moment = match.scene >= action_from > match.alone
    if match.probability < review_from and not another_moment:
        return match, None
    label = match.work.title or match.work.external_id or str(match.work.id)
    sure = f"probability {match.probability:.3f}"
    if policy.territories and upload.territories and not set(policy.territories) & set(upload.territories):
        text = f"It matches “{label}” ({sure}), whose owner holds no rights where it would be seen."
        return match, Reason(OUT_OF_TERRITORY, text, match.work.id)
    for licence in policy.licences:
        if _allows(licence, upload):
            text = f"It matches “{label}” ({sure}), and a licence allows it."
            return replace(match, licence=licence), Reason(LICENSED, text, match.work.id)
    if match.suppressed:
        text = f"It matches “{label}” ({sure}) by a reference whose matches a reviewer keeps back."
        action = min(policy.action, Action.REVIEW)
        return replace(match, action=action), Reason(SUPPRESSED, text, match.work.id)
    if another_moment:
        text = (
            f"It shows the same scene as “{label}” (probability {match.scene:.3f}), but whether it is the "
            f"same moment is uncertain ({match.probability:.3f} for a copy); a person should look."
        )
        return replace(match, action=min(policy.action, Action.REVIEW)), Reason(
            SAME_SCENE, text, match.work.id
        )
    if match.accompanying:
        text = f"It holds what accompanies “{label}” ({sure}), such as its sound, but nothing else of it."
        return replace(match, action=min(policy.action, Action.REVIEW)), Reason(
            ACCOMPANIMENT, text, match.work.id
        )
    if match.probability >= action_from:
        text = f"It holds a copy of “{label}” ({sure})."
        return replace(match, action=policy.action), Reason(COPY_FOUND, text, match.work.id)
    text = f"It may hold a copy of “{label}” ({sure}); a person should look."
    action = min(policy.action, Action.REVIEW)
    return replace(match, action=action), Reason(POSSIBLE_COPY, text, match.work.id)


def _allows(licence: Licence, upload: Upload) -> bool:
    """Whether a licence covers the upload: its uploader, everywhere that it would be seen, now."""
    if licence.uploader_token and licence.uploader_token != upload.uploader_token:
        return False
    if licence.expires_at is not None and licence.expires_at <= upload.now:
        return False
    if not licence.territories:
        return True
    return bool(upload.territories) and set(upload.territories) <= set(licence.territories)
