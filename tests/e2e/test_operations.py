"""What operators see: metrics, logs, traces, health."""

from __future__ import annotations  # the stubs' types exist for mypy alone

import io
import json
import logging
import sys
from collections.abc import AsyncIterator, Iterator
from typing import Any
from urllib.request import urlopen

import grpc
import pytest
import structlog
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2, trace_service_pb2_grpc
from prometheus_client.parser import text_string_to_metric_families

from copyhound.v1 import fingerprint_pb2, match_pb2, match_pb2_grpc, work_pb2, work_pb2_grpc
from service import logs
from service.app import Running, running
from service.sandbox import ForkServer
from service.settings import Settings


async def register_and_ask(port: int, content: bytes) -> None:
    media = fingerprint_pb2.Media(content=content, filename="secret-name.png")
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        await work_pb2_grpc.WorkServiceStub(channel).CreateWork(
            work_pb2.CreateWorkRequest(work=work_pb2.Work(owner="studio"), media=[media])
        )
        matches = match_pb2_grpc.MatchServiceStub(channel)
        await matches.Match(match_pb2.MatchRequest(media=media, request_id="r-17"))
        with pytest.raises(grpc.aio.AioRpcError):
            await matches.Match(match_pb2.MatchRequest())


def scraped(port: int) -> dict[str, dict[tuple[str, ...], float]]:
    with urlopen(f"http://127.0.0.1:{port}/metrics") as answer:
        text = answer.read().decode()
    found: dict[str, dict[tuple[str, ...], float]] = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            if not sample.name.endswith(("_bucket", "_created")):
                found.setdefault(sample.name, {})[tuple(sample.labels.values())] = sample.value
    return found


async def test_metrics_count_calls_and_stages(
    settings: Settings, photographs: dict[str, bytes], forks: ForkServer
) -> None:
    async with running(settings.model_copy(update={"metrics": "127.0.0.1:0"}), forks=forks) as service:
        await register_and_ask(service.port, photographs["coffee"])
        assert service.metrics_port
        found = scraped(service.metrics_port)
    calls = found["copyhound_rpc_seconds_count"]
    assert calls["OK", "/copyhound.v1.WorkService/CreateWork"] == 1
    assert calls["OK", "/copyhound.v1.MatchService/Match"] == 1
    assert calls["INVALID_ARGUMENT", "/copyhound.v1.MatchService/Match"] == 1
    stages = found["copyhound_stage_seconds_count"]
    assert stages["read",] == stages["decode",] == stages["fingerprint",] == 2
    assert stages["retrieve",] == stages["verify",] == stages["decide",] == stages["commit",] == 1
    assert found["copyhound_queue_length"][()] == 0
    assert found["copyhound_commit_changes_sum"][()] == 1


@pytest.fixture
def log_lines(monkeypatch: pytest.MonkeyPatch) -> Iterator[io.StringIO]:
    """What the service logs for programs, in a buffer."""
    root = logging.getLogger()
    before = (root.handlers, root.level)
    lines = io.StringIO()
    monkeypatch.setattr(sys, "stderr", lines)
    logs.configure(json_lines=True)
    yield lines
    root.handlers, root.level = before
    structlog.reset_defaults()


async def test_logs_tell_of_calls_and_hold_no_media(
    log_lines: io.StringIO, service: Running, photographs: dict[str, bytes]
) -> None:
    await register_and_ask(service.port, photographs["coffee"])
    entries = [json.loads(line) for line in log_lines.getvalue().splitlines()]
    calls = [entry for entry in entries if entry["event"] == "call"]
    assert [(call["method"].rpartition("/")[2], call["code"]) for call in calls] == [
        ("CreateWork", "OK"),
        ("Match", "OK"),
        ("Match", "INVALID_ARGUMENT"),
    ]
    assert calls[1]["request_id"] == "r-17"
    assert all(call["key"] == "anonymous" and call["seconds"] > 0 for call in calls)
    assert "secret-name" not in log_lines.getvalue()


class Collector(trace_service_pb2_grpc.TraceServiceServicer):
    """Takes spans in."""

    def __init__(self) -> None:
        self.spans: list[Any] = []

    async def Export(self, request: Any, context: object) -> Any:  # noqa: N802 - gRPC's name
        del context
        for resource in request.resource_spans:
            for scope in resource.scope_spans:
                self.spans += scope.spans
        return trace_service_pb2.ExportTraceServiceResponse()


@pytest.fixture
async def collector(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Collector]:
    """An OpenTelemetry collector on loopback, which the exporter is told of."""
    collector = Collector()
    server = grpc.aio.server()
    add: Any = trace_service_pb2_grpc.add_TraceServiceServicer_to_server
    add(collector, server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://127.0.0.1:{port}")
    yield collector
    await server.stop(None)


async def test_traces_show_the_stages_inside_a_call(
    collector: Collector, settings: Settings, photographs: dict[str, bytes], forks: ForkServer
) -> None:
    async with running(settings.model_copy(update={"otel": True}), forks=forks) as service:
        await register_and_ask(service.port, photographs["coffee"])
    by_id = {span.span_id: span for span in collector.spans}
    parents = {
        (by_id[span.parent_span_id].name.rpartition("/")[2], span.name)
        for span in collector.spans
        if span.parent_span_id
    }
    assert {("CreateWork", "read"), ("Match", "retrieve"), ("Match", "verify")} <= parents
