"""Spans, where OpenTelemetry is installed and asked for; nothing otherwise."""

from contextlib import AbstractContextManager, nullcontext
from typing import Any, Protocol

from service.errors import StartupError


class Tracer(Protocol):
    """Opens spans."""

    def span(self, name: str) -> AbstractContextManager[Any]:
        """Open a span around what happens inside."""
        ...

    def close(self) -> None:
        """Send what is left."""
        ...


class NoTracer:
    """Opens no spans."""

    def span(self, name: str) -> AbstractContextManager[Any]:  # noqa: ARG002 - the protocol's parameter
        """Do nothing around what happens inside."""
        return nullcontext()

    def close(self) -> None:
        """Send nothing."""


class OpenTelemetryTracer:
    """Opens OpenTelemetry spans and exports them by OTLP over gRPC."""

    def __init__(self) -> None:
        """Set up the exporter, which reads its own OTEL_ variables.

        Raises:
            StartupError: If the extra `otel` is not installed.
        """
        try:
            from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import (  # noqa: PLC0415 - an extra
                OTLPSpanExporter,
            )
            from opentelemetry.sdk.resources import Resource  # noqa: PLC0415
            from opentelemetry.sdk.trace import TracerProvider  # noqa: PLC0415
            from opentelemetry.sdk.trace.export import BatchSpanProcessor  # noqa: PLC0415
        except ImportError as error:
            message = "tracing needs the extra `otel`: pip install 'copyhound[otel]'"
            raise StartupError(message) from error
        self._provider = TracerProvider(resource=Resource.create({"service.name": "copyhound"}))
        self._provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
        self._tracer = self._provider.get_tracer("copyhound")

    def span(self, name: str) -> AbstractContextManager[Any]:
        """Open a span around what happens inside."""
        span: AbstractContextManager[Any] = self._tracer.start_as_current_span(name)
        return span

    def close(self) -> None:
        """Send what is left."""
        self._provider.shutdown()
