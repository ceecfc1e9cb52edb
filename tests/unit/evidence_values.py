"""A document of a report, as `service.evidence.document` builds it, made of nothing but values."""

from __future__ import annotations

import io
from typing import Any

from PIL import Image

from indexers.fingerprint import SpanUnit
from indexers.modality import AlignedSegment
from service.evidence.sheet import Picture
from service.language import (
    Words,
    explain_coverage,
    explain_probability,
    explain_segment,
    explain_signals,
    explain_transform,
)

HOSTILE = "片 名 #panic() $x$ <script>alert(1)</script> \x1b[31m \u202egnp.exe \U0001f600 عربي"
"""A title that tries markup, escapes, other scripts, and characters that the fonts lack."""
SIGNALS = {
    "frames_evidence": 12.5,
    "frames_count": 40.0,
    "frames_similarity": 0.83,
    "frames_contrast": 0.21,
    "sound_agreement": 0.95,
    "pdq_distance": 9.0,
}
WORK = "works/01a20655-0000-7000-8000-000000000001"
LONG_URL = "https://pirate.example/" + "a" * 300


def document(words: Words, *, title: str = "Nosferatu", sightings: int = 2) -> dict[str, Any]:
    """A report on a film of which two stretches, one of them backwards, were found in another one."""
    segments = (
        AlignedSegment((2.0, 30.5), (3602.0, 3630.5), 1.0, SpanUnit.SECOND, content="picture and sound"),
        AlignedSegment((31.0, 41.0), (100.0, 120.0), -1.25, SpanUnit.SECOND, 200.0, content="picture"),
    )
    probability, coverage = 0.9971, (0.81, 0.02)
    event = {
        "number": 1,
        "at": "2026-11-20T10:00:05.000000+00:00",
        "actor": "0a1b2c3d4e5f6071",
        "action": "RECEIVED",
        "detail": '{"sha256":"' + "ab" * 32 + '"}',
        "sha256": "cd" * 32,
    }
    located = {
        "segments": [
            {
                "query": list(one.query),
                "work": list(one.work),
                "unit": "second",
                "speed": one.speed,
                "pitch_cents": one.pitch_cents,
                "region": None,
                "content": one.content,
                "said": explain_segment(words, one),
            }
            for one in segments
        ],
        "regions": [
            {
                "query": [0.1, 0.2, 0.9, 0.8],
                "work": [0.0, 0.0, 1.0, 1.0],
                "transform": "affine",
                "matrix": [0.7, -0.2, 0.25, 0.1, 0.6, 0.15, 0.0, 0.0, 1.0],
                "said": explain_transform(words, "affine"),
            }
        ],
    }
    return {
        "format": "copyhound.report.v1",
        "language": words.language,
        "created_at": "2026-11-23T03:00:00.000000+00:00",
        "software": {"copyhound": "0.1.0", "numpy": "2.4.0"},
        "report": {
            "name": "reports/01a20655-aa37-76ef-b9da-dd989ede661b",
            "version": 1,
            "revision": 3,
            "created_at": "2026-11-20T10:00:09.000000+00:00",
            "updated_at": "2026-11-20T10:00:09.000000+00:00",
            "policy_revision": "2026-11-22/x",
            "index_sequence": 12,
            "on_registration": True,
        },
        "work": {
            "name": WORK,
            "owner": "studio",
            "external_id": "P-17",
            "title": title,
            "deleted": True,
        },
        "reference": {
            "name": f"{WORK}/references/01a20655-0000-7000-8000-000000000002",
            "deleted": True,
        },
        "content": {"modality": "video", "bytes": 12_345_678, "sha256": "ef" * 32},
        "match": {
            "probability": probability,
            "query_coverage": coverage[0],
            "work_coverage": coverage[1],
            "action": "block",
            "signals": [
                {
                    "name": one.signal,
                    "value": SIGNALS[one.signal],
                    "label": one.label,
                    "shown": one.value,
                    "sentence": one.sentence,
                    "telling": one.telling.value,
                }
                for one in explain_signals(words, SIGNALS)
            ],
            **located,
            "part_counts": [
                {
                    "modality": "video",
                    "query_found": 1,
                    "query_count": 2,
                    "work_found": 1,
                    "work_count": 1,
                }
            ],
            "parts": [
                {
                    "name": "films/1.mp4",
                    "modality": "video",
                    "reference": "works/01a20655-0000-7000-8000-000000000001/references/"
                    "01a20655-0000-7000-8000-000000000002",
                    "filename": "film.mp4",
                    "probability": probability,
                    "query_coverage": coverage[0],
                    "work_coverage": coverage[1],
                    **located,
                }
            ],
        },
        "explanation": [
            *explain_probability(words, probability, SIGNALS),
            explain_coverage(words, *coverage),
        ],
        "sighting_count": sightings,
        "sightings": [
            {
                "list": "lists/01a20655-0000-7000-8000-000000000003",
                "run": "lists/01a20655-0000-7000-8000-000000000003/runs/01a20655-0000-7000-8000-000000000004",
                "capture": "captures/01a20655-0000-7000-8000-000000000005" if number == 0 else None,
                "site": "pirate.example",
                "page_url": LONG_URL,
                "page_title": title,
                "media_url": f"https://pirate.example/{number}.mp4",
                "found_as": "video",
                "uploader": "someone <b>else</b>",
                "first_seen_at": "2026-11-20T10:00:00.000000+00:00",
                "last_seen_at": "2026-11-21T10:00:00.000000+00:00",
            }
            for number in range(sightings)
        ],
        "captures": [
            {
                "name": "captures/01a20655-0000-7000-8000-000000000005",
                "sha256": "ab" * 32,
                "bytes": 12_400_000,
                "seal": None,
                "captured_at": "2026-11-20T10:00:00.000000+00:00",
                "received_at": "2026-11-20T10:00:05.000000+00:00",
                "page_url": LONG_URL,
                "media_url": "https://pirate.example/0.mp4",
                "requested_url": "",
                "content_type": "video/mp4",
                "remote_address": "192.0.2.1",
                "crawler": "spider",
                "software": {"copyhound": "0.1.0"},
                "robots": {},
                "custody": [event],
            }
        ],
        "people": {},
        "cases": [
            {
                "name": "cases/01a20655-0000-7000-8000-000000000006",
                "site": "pirate.example",
                "state": "decided",
                "decisions": [
                    {
                        "number": 2,
                        "outcome": "wrong_match",
                        "reason": "OTHER_WORK",
                        "note": title,
                        "actor": "0a1b2c3d4e5f6071",
                        "at": "2026-11-21T10:00:00.000000+00:00",
                        "undone_by": 3,
                    },
                    {
                        "number": 4,
                        "outcome": "infringing",
                        "reason": "",
                        "note": "",
                        "actor": "0a1b2c3d4e5f6071",
                        "at": "2026-11-22T10:00:00.000000+00:00",
                        "undone_by": None,
                    },
                ],
                "events": [event],
            }
        ],
    }


def picture(*, of_work: bool = False, outlined: bool = True) -> Picture:
    """A picture of one colour."""
    out = io.BytesIO()
    Image.new("RGB", (160, 90), (200, 180, 90)).save(out, "JPEG")
    name = "work.jpg" if of_work else "suspect.jpg"
    return Picture(name, "image/jpeg", out.getvalue(), 160, 90, of_work, outlined)
