"""Structured logs on standard error: one JSON object a line, or lines for people on a terminal.

No media, no fingerprints and no secrets are logged: callers pass ids, counts and times alone.
"""

import contextlib
import logging
import sys

import structlog


class _Lines(structlog.WriteLogger):
    """Writes to standard error, at half the cost of the way through the standard library's loggers.

    A line that cannot be written, say because the disk is full, is lost: no call fails for it.
    """

    def msg(self, message: str) -> None:
        """Write one line."""
        with contextlib.suppress(OSError):
            super().msg(message)

    info = warning = error = msg


def configure(*, json_lines: bool, level: int = logging.INFO) -> None:
    """Set the log up for the whole process; the standard library's loggers go the same way.

    Args:
        json_lines: One JSON object a line, not lines for people.
        level: Least severe level that is written.
    """
    stderr = sys.stderr
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    renderer: structlog.typing.Processor = (
        structlog.processors.JSONRenderer()
        if json_lines
        else structlog.dev.ConsoleRenderer(
            colors=stderr.isatty(),
            exception_formatter=structlog.dev.plain_traceback,  # others print variables: media, secrets
        )
    )
    if json_lines:
        shared.append(structlog.processors.format_exc_info)
    remove_meta = structlog.stdlib.ProcessorFormatter.remove_processors_meta
    handler = logging.StreamHandler(stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(foreign_pre_chain=shared, processors=[remove_meta, renderer])
    )
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(level)
    logging.getLogger("alembic").setLevel(max(level, logging.WARNING))
    structlog.configure(
        processors=[*shared, renderer],
        logger_factory=lambda *_: _Lines(stderr),
        wrapper_class=structlog.make_filtering_bound_logger(level),
        cache_logger_on_first_use=False,
    )
