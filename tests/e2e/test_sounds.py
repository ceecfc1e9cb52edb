"""Sounds through the running service: excerpts are found and located, bad input gets clear answers."""

from __future__ import annotations  # the stubs' types exist for mypy alone

import json
import threading
from collections.abc import Iterator
from pathlib import Path

import grpc
import numpy as np
import pytest
from google.longrunning import operations_pb2, operations_pb2_grpc
from google.protobuf.duration_pb2 import Duration

import copyhound
from copyhound import cli
from copyhound.v1 import fingerprint_pb2, match_pb2, match_pb2_grpc, work_pb2, work_pb2_grpc
from copyhound.where import describe_place
from indexers.audio.decode import RATE, Sound
from tests.e2e.serving import ServerProcess, serving
from tests.sounds import cut, encoded, film, tune

TUNES = {"first": tune(1, 90), "second": tune(2, 60), "third": tune(3, 60)}
STRANGER = tune(99, 20)
STOP_WAITING = 300.0
"""Seconds after which an upload that nobody answers ends by itself."""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """Holds two tunes that were registered, and one that was imported."""
    folder = tmp_path_factory.mktemp("sounds")
    (folder / "in").mkdir()
    (folder / "in" / "third.wav").write_bytes(encoded(TUNES["third"]))
    with serving(folder / "hound", import_root=folder / "in") as server:
        with copyhound.Client(f"127.0.0.1:{server.port}") as client:
            for name in ("first", "second"):
                client.register(encoded(TUNES[name]), owner="label", external_id=name)
        work = work_pb2.Work(owner="label", external_id="third")
        item = work_pb2.ImportItem(work=work, path="third.wav")
        with grpc.insecure_channel(f"127.0.0.1:{server.port}") as channel:
            begun = work_pb2_grpc.WorkServiceStub(channel).ImportWorks(
                work_pb2.ImportWorksRequest(items=[item])
            )
            wait = operations_pb2.WaitOperationRequest(name=begun.name, timeout=Duration(seconds=300))
            imported = work_pb2.ImportWorksMetadata()
            ended = operations_pb2_grpc.OperationsStub(channel).WaitOperation(wait)
            assert ended.metadata.Unpack(imported)
            assert imported.created_count == 1
        yield server


@pytest.fixture
def client(server: ServerProcess) -> Iterator[copyhound.Client]:
    with copyhound.Client(f"127.0.0.1:{server.port}") as client:
        yield client


def noise(seconds: float = 10.0) -> Sound:
    return np.random.default_rng(8).normal(0, 0.1, round(seconds * RATE)).astype(np.float32)


def tone(seconds: float = 10.0) -> Sound:
    return (0.5 * np.sin(2 * np.pi * 440 * np.arange(round(seconds * RATE)) / RATE)).astype(np.float32)


def test_an_excerpt_is_found_and_located(client: copyhound.Client) -> None:
    answer = client.match(encoded(cut(TUNES["first"], 30, 42), "mp3", "libmp3lame", 22_050))
    (match,) = answer.matches
    assert match.external_id == "first"
    assert match.probability > 0.99
    (segment,) = match.segments
    assert segment.work_start - segment.query_start == pytest.approx(30, abs=0.15)
    assert match.query_coverage > 0.95
    assert not answer.partial


def test_a_faster_excerpt_inside_another_tune_is_found_and_told_in_words(
    client: copyhound.Client,
) -> None:
    copied = cut(tune(2, 60, tempo=1.05, cents=80), 20 / 1.05, 20 / 1.05 + 10)
    query = np.concatenate([cut(STRANGER, 0, 5), copied, cut(STRANGER, 5, 8)])
    (match,) = (client.match(encoded(query))).matches
    assert match.external_id == "second"
    (segment,) = match.segments
    assert segment.speed == pytest.approx(1.05, abs=0.005)
    assert segment.pitch_cents == pytest.approx(80, abs=10)
    assert segment.query_start == pytest.approx(5, abs=0.8)
    assert segment.query_end == pytest.approx(15, abs=0.8)
    assert describe_place(match).endswith("of the work, at 1.05x speed, 0.8 semitones higher")


@pytest.mark.parametrize(("tempo", "cents"), [(1.3, 454.0), (0.75, -498.0), (1.4, 0.0)])
def test_what_was_sped_up_or_slowed_down_by_much_is_found(
    client: copyhound.Client, tempo: float, cents: float
) -> None:
    query = cut(tune(2, 60, tempo=tempo, cents=cents), 20 / tempo, 20 / tempo + 15)
    (match,) = client.match(encoded(query)).matches
    assert match.external_id == "second"
    (segment,) = match.segments
    assert segment.speed == pytest.approx(tempo, abs=0.01)
    assert segment.pitch_cents == pytest.approx(cents, abs=10)
    assert (segment.work_start, segment.work_end) == pytest.approx((20, 20 + 15 * tempo), abs=0.8)


def test_several_works_and_several_parts_of_one_are_found(client: copyhound.Client) -> None:
    parts = [cut(TUNES["third"], 40, 50), cut(TUNES["first"], 10, 20), cut(TUNES["third"], 5, 15)]
    found = {match.external_id: match for match in (client.match(encoded(np.concatenate(parts)))).matches}
    assert found.keys() == {"first", "third"}
    starts = [segment.query_start for segment in found["third"].segments]
    assert starts == pytest.approx([0, 20], abs=1.0)
    assert found["third"].query_coverage == pytest.approx(2 / 3, abs=0.08)


@pytest.mark.parametrize(
    "sound",
    [np.zeros(10 * RATE, np.float32), tone(), noise(), STRANGER, cut(STRANGER, 3, 4)],
    ids=["silence", "tone", "noise", "another tune", "a second"],
)
def test_what_is_no_copy_raises_no_alarm(client: copyhound.Client, sound: Sound) -> None:
    answer = client.match(encoded(sound))
    assert answer.matches == ()
    assert not answer.partial


def test_silence_tones_and_noise_may_be_registered_without_alarms(
    client: copyhound.Client,
) -> None:
    for name, sound in {"silence": np.zeros(20 * RATE, np.float32), "tone": tone(20)}.items():
        client.register(encoded(sound), owner="label", external_id=name)
    for sound in (np.zeros(9 * RATE, np.float32), tone(9), noise(9), STRANGER):
        assert (client.match(encoded(sound))).matches == ()


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (encoded(cut(STRANGER, 0, 0.2)), "MEDIA_UNSUPPORTED"),
        (b"fLaC" + bytes(3000), "MEDIA_UNSUPPORTED"),
        (b"RIFF\x00\x10\x00\x00WAVE" + bytes(2000), "MEDIA_UNSUPPORTED"),
    ],
    ids=["a fifth of a second", "no FLAC", "no WAV"],
)
def test_what_holds_no_sound_is_refused(client: copyhound.Client, content: bytes, reason: str) -> None:
    with pytest.raises(copyhound.UnreadableMediaError) as caught:
        client.match(content)
    assert caught.value.reason == reason


def test_unusual_and_damaged_files_are_read_as_far_as_they_can_be(
    client: copyhound.Client,
) -> None:
    excerpt = cut(TUNES["first"], 50, 65)
    whole = encoded(excerpt, "mp3", "libmp3lame", 22_050)
    damaged = whole[:9000] + bytes(400) + whole[9400:-5000]
    eight = encoded(excerpt, rate=8000)
    many = encoded(cut(excerpt, 0, 10), "flac", "flac", 192_000, "7.1")
    for content in (damaged, eight, many):
        (match,) = (client.match(content)).matches
        assert match.external_id == "first"


def test_the_sound_of_a_film_is_matched_where_sound_is_asked_for(server: ServerProcess) -> None:
    options = match_pb2.MatchOptions(modality=fingerprint_pb2.MODALITY_AUDIO)
    header = match_pb2.MatchStreamRequest(header=match_pb2.MatchStreamRequest.Header(options=options))
    with grpc.insecure_channel(f"127.0.0.1:{server.port}") as channel:
        ask = match_pb2_grpc.MatchServiceStub(channel).MatchStream
        chunk = match_pb2.MatchStreamRequest(chunk=film(cut(TUNES["second"], 5, 17)))
        answer = ask(iter([header, chunk]))
        assert [round(match.segments[0].work_start) for match in answer.matches] == [5]
        with pytest.raises(grpc.RpcError) as caught:
            ask(iter([header, match_pb2.MatchStreamRequest(chunk=film(None))]))
        assert "no sound" in str(caught.value)


def test_an_upload_that_surely_holds_a_copy_is_answered_before_its_end(server: ServerProcess) -> None:
    header = match_pb2.MatchStreamRequest(header=match_pb2.MatchStreamRequest.Header())
    content = encoded(cut(TUNES["first"], 0, 60))
    answered = threading.Event()
    ended: list[bool] = []

    def upload() -> Iterator[match_pb2.MatchStreamRequest]:
        yield header
        for start in range(0, len(content), 1 << 19):
            yield match_pb2.MatchStreamRequest(chunk=content[start : start + (1 << 19)])
        ended.append(answered.wait(STOP_WAITING))  # the last chunk is not sent before the answer

    with grpc.insecure_channel(f"127.0.0.1:{server.port}") as channel:
        answer = match_pb2_grpc.MatchServiceStub(channel).MatchStream(upload())
    answered.set()
    assert ended in ([], [True])
    assert answer.action == work_pb2.ACTION_BLOCK
    (match,) = answer.matches
    assert match.segments[0].work_start == pytest.approx(0, abs=0.15)
    assert answer.partial_reasons[0].startswith("EARLY: the first ")


def test_many_sounds_are_asked_about_at_once(server: ServerProcess) -> None:
    queries = {"third": encoded(cut(TUNES["third"], 20, 28)), "": encoded(cut(STRANGER, 4, 12))}
    request = match_pb2.BatchMatchRequest(
        requests=[
            match_pb2.MatchRequest(media=fingerprint_pb2.Media(content=one)) for one in queries.values()
        ]
    )
    with grpc.insecure_channel(f"127.0.0.1:{server.port}") as channel:
        answer = match_pb2_grpc.MatchServiceStub(channel).BatchMatch(request)
    found = [[match.external_id for match in one.response.matches] for one in answer.results]
    assert found == [["third"], []]


def test_the_command_line_says_where_a_sound_was_copied_from(
    server: ServerProcess, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "excerpt.wav"
    path.write_bytes(encoded(cut(TUNES["second"], 30, 40)))
    assert cli.run(["match", str(path), "--json", "--server", f"127.0.0.1:{server.port}"]) == 0
    (match,) = json.loads(capsys.readouterr().out)["answer"]["matches"]
    assert match["external_id"] == "second"
    assert match["segments"][0]["work_start"] == pytest.approx(30, abs=0.15)


def test_two_sounds_are_compared(client: copyhound.Client) -> None:
    excerpt = encoded(cut(TUNES["first"], 10, 20))
    same = client.compare(excerpt, encoded(cut(TUNES["first"], 0, 30)))
    other = client.compare(excerpt, encoded(cut(TUNES["second"], 0, 30)))
    assert same.probability > 0.99
    assert same.signals["peak_evidence"] > 100
    assert same.segments[0].work_start == pytest.approx(10, abs=0.15)
    assert other.probability < 0.1
    assert other.segments == ()
