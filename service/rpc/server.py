"""The gRPC server: services, health, reflection, credentials, graceful stop."""

import asyncio
import ipaddress
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
from google.longrunning import operations_pb2, operations_pb2_grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from copyhound.v1 import (
    capture_pb2,
    capture_pb2_grpc,
    match_pb2,
    match_pb2_grpc,
    monitor_pb2,
    monitor_pb2_grpc,
    preview_pb2,
    preview_pb2_grpc,
    report_pb2,
    report_pb2_grpc,
    review_pb2,
    review_pb2_grpc,
    work_pb2,
    work_pb2_grpc,
)
from service.errors import StartupError
from service.rpc.captures import CaptureService
from service.rpc.convert import MAX_CHUNK_BYTES
from service.rpc.guard import Guard
from service.rpc.matches import MatchService
from service.rpc.monitoring import MonitorService
from service.rpc.operations import OperationsService
from service.rpc.previews import PreviewService
from service.rpc.reports import ReportService
from service.rpc.review import ReviewService
from service.rpc.works import WorkService

_MESSAGE_SLACK = 2 * MAX_CHUNK_BYTES
"""What a message may hold besides its media; a chunk of a stream fits too."""

_REFUSING_SECONDS = 0.2
"""How long calls are still refused with a reason, once nothing is in flight. gRPC itself would cancel those
that arrive while it stops, and tell their callers nothing."""

_READ_AHEAD = 1024 * 1024
"""Bytes of a stream that wait to be taken, about."""

_FAREWELL_SECONDS = 1.0
"""How long the last answers may take to leave, once they are made."""


class Server:
    """The server: bound to its address from `start` on, ready to work from `serve` on."""

    def __init__(self, *, guard: Guard, max_inline_bytes: int, max_concurrent_calls: int) -> None:
        """Prepare health and reflection; nothing listens yet.

        Args:
            guard: Admits calls.
            max_inline_bytes: Most media bytes in one message.
            max_concurrent_calls: Most calls at a time; gRPC refuses more with RESOURCE_EXHAUSTED.
        """
        self._guard = guard
        self._health = health.aio.HealthServicer()
        self._server = grpc.aio.server(
            interceptors=[guard],
            maximum_concurrent_rpcs=max_concurrent_calls,
            options=[
                ("grpc.max_receive_message_length", max_inline_bytes + _MESSAGE_SLACK),
                # By itself gRPC reads ahead by what it takes the line to be worth: tens of megabytes for each
                # upload. A message is read in one piece however long it is.
                ("grpc.http2.bdp_probe", 0),
                ("grpc.http2.lookahead_bytes", _READ_AHEAD),
                ("grpc.so_reuseport", 0),  # a second server on the port is an error, not a rival
            ],
        )
        self._methods = _Methods()
        self._server.add_generic_rpc_handlers((self._methods,))
        health_pb2_grpc.add_HealthServicer_to_server(self._health, self._server)
        self._services = (
            work_pb2.DESCRIPTOR.services_by_name["WorkService"].full_name,
            match_pb2.DESCRIPTOR.services_by_name["MatchService"].full_name,
            monitor_pb2.DESCRIPTOR.services_by_name["MonitorService"].full_name,
            capture_pb2.DESCRIPTOR.services_by_name["CaptureService"].full_name,
            report_pb2.DESCRIPTOR.services_by_name["ReportService"].full_name,
            preview_pb2.DESCRIPTOR.services_by_name["PreviewService"].full_name,
            review_pb2.DESCRIPTOR.services_by_name["ReviewService"].full_name,
            operations_pb2.DESCRIPTOR.services_by_name["Operations"].full_name,
        )
        names = (
            *self._services,
            health_pb2.DESCRIPTOR.services_by_name["Health"].full_name,
            reflection.SERVICE_NAME,
        )
        reflection.enable_server_reflection(names, self._server)

    async def start(self, address: str, credentials: grpc.ServerCredentials | None) -> int:
        """Listen, NOT_SERVING as yet: the guard refuses what nobody handles; return the port.

        Raises:
            StartupError: If the address cannot be listened on.
        """
        await self._set_health(health_pb2.HealthCheckResponse.NOT_SERVING)
        try:
            if credentials is None:
                port = self._server.add_insecure_port(address)
            else:
                port = self._server.add_secure_port(address, credentials)
        except RuntimeError as error:
            raise StartupError(f"cannot listen on {address}: is something else there?") from error
        await self._server.start()
        return port

    async def serve(
        self,
        *,
        works: WorkService,
        matches: MatchService,
        operations: OperationsService,
        monitoring: MonitorService,
        captures: CaptureService,
        reports: ReportService,
        previews: PreviewService,
        review: ReviewService,
    ) -> None:
        """Take calls, and say SERVING."""
        methods: Any = self._methods  # a server, as far as these functions need one
        work_pb2_grpc.add_WorkServiceServicer_to_server(works, methods)
        match_pb2_grpc.add_MatchServiceServicer_to_server(matches, methods)
        operations_pb2_grpc.add_OperationsServicer_to_server(operations, methods)
        monitor_pb2_grpc.add_MonitorServiceServicer_to_server(monitoring, methods)
        capture_pb2_grpc.add_CaptureServiceServicer_to_server(captures, methods)
        report_pb2_grpc.add_ReportServiceServicer_to_server(reports, methods)
        preview_pb2_grpc.add_PreviewServiceServicer_to_server(previews, methods)
        review_pb2_grpc.add_ReviewServiceServicer_to_server(review, methods)
        await self._set_health(health_pb2.HealthCheckResponse.SERVING)

    async def stop(self, seconds: float) -> None:
        """Say NOT_SERVING, refuse new calls, and let those in flight go on for at most `seconds`."""
        await self._health.enter_graceful_shutdown()
        await self._guard.drain(seconds)
        await asyncio.sleep(_REFUSING_SECONDS)
        await self._server.stop(_FAREWELL_SECONDS)

    async def _set_health(self, status: Any) -> None:
        for service in ("", *self._services):
            await self._health.set(service, status)


class _Methods(grpc.GenericRpcHandler):
    """Methods that join a server which listens already; gRPC's own registration has to come before."""

    def __init__(self) -> None:
        self._services: list[grpc.GenericRpcHandler] = []

    def add_generic_rpc_handlers(self, handlers: Sequence[grpc.GenericRpcHandler]) -> None:
        """Take a service's methods."""
        self._services += handlers

    def add_registered_method_handlers(self, service: str, handlers: Mapping[str, Any]) -> None:
        """Take nothing: these are the same methods once more."""

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> Any:
        """Find a method; None: nobody has it, or not yet."""
        found = (service.service(handler_call_details) for service in self._services)
        return next((handler for handler in found if handler is not None), None)


def credentials(
    certificate: Path | None, key: Path | None, client_ca: Path | None
) -> grpc.ServerCredentials | None:
    """TLS credentials from PEM files; None for a server without TLS.

    Raises:
        StartupError: If one of certificate and key is missing, or a file cannot be read.
    """
    if certificate is None and key is None and client_ca is None:
        return None
    if certificate is None or key is None:
        raise StartupError("TLS needs both tls_certificate and tls_key")
    try:
        pair = (key.read_bytes(), certificate.read_bytes())
        authority = None if client_ca is None else client_ca.read_bytes()
    except OSError as error:
        raise StartupError(f"cannot read {error.filename}: {error.strerror}") from error
    return grpc.ssl_server_credentials(
        [pair], root_certificates=authority, require_client_auth=authority is not None
    )


def is_loopback(address: str) -> bool:
    """Whether HOST:PORT is reachable from this machine alone."""
    host = address.rpartition(":")[0].removeprefix("[").removesuffix("]")
    if host == "localhost" or address.startswith("unix:"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
