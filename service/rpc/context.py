"""What a call knows of itself."""

from time import monotonic
from typing import Any, TypeAlias

import grpc.aio

Context: TypeAlias = grpc.aio.ServicerContext[Any, Any]
"""The context of any call."""


def deadline_of(context: Context) -> float | None:
    """When the caller stops waiting, on the monotonic clock; None: never."""
    remaining: float | None = context.time_remaining()  # the stubs know no calls without a deadline
    return None if remaining is None else monotonic() + remaining
