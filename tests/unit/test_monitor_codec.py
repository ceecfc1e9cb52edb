"""What a report keeps of a match comes back, also from reports of earlier versions."""

import json
from datetime import UTC, datetime
from uuid import UUID

from indexers.fingerprint import SpanUnit
from indexers.modality import AlignedSegment, Box
from service.domain import Match, Policy, Reference, Work
from service.store.monitor_codec import dump_match, load_segments

NOW = datetime(2026, 1, 1, tzinfo=UTC)
WORK = Work(UUID(int=1), "studio", None, "Film", {}, Policy(), None, 1, 1, NOW, NOW, 1)
REFERENCE = Reference(UUID(int=2), WORK.id, "film.mp4", "video", None, 0, (), NOW, 1)


def test_segments_of_films_keep_their_place_and_content() -> None:
    segments = (
        AlignedSegment((0, 4.5), (10, 14.5), -1.0, SpanUnit.SECOND, 50.0, Box(0.1, 0.2, 0.9, 0.8), "picture"),
        AlignedSegment((5, 9), (20, 24), 1.0, SpanUnit.SECOND, content="sound"),
    )
    stored = json.loads(dump_match(Match(WORK, REFERENCE, 0.9, {}, segments, (), 0.5, 0.1)))
    assert load_segments(stored["segments"]) == segments


def test_segments_of_earlier_versions() -> None:
    assert load_segments([[0.0, 300.0, 5.0, 305.0, 1.0, "character", 0.0]]) == (
        AlignedSegment((0.0, 300.0), (5.0, 305.0), 1.0, SpanUnit.CHARACTER),
    )
