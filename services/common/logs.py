"""Structured logs: one event name with fields; JSON for machines, coloured lines for people.

Prompts, answers and keys are never fields. Request ids are, so that one request can be followed through the mesh.
"""

from __future__ import annotations

import logging
import sys
from typing import Any

import structlog

from services.common.settings import SettingsError

Logger = structlog.typing.FilteringBoundLogger


def configure_logs(service: str, *, format: str, level: str) -> None:  # noqa: A002 - the setting has this name
    """Sends the process's logs to standard error; `format` is "console" or "json"."""
    if format not in {"console", "json"}:
        raise SettingsError(f'LOG_FORMAT is "console" or "json", not {format!r}')
    threshold = logging.getLevelNamesMapping().get(level.upper())
    if threshold is None:
        raise SettingsError(f"LOG_LEVEL is debug, info, warning or error, not {level!r}")
    logging.basicConfig(level=max(threshold, logging.WARNING), stream=sys.stderr, format="%(name)s: %(message)s")
    renderer: Any = structlog.processors.JSONRenderer()
    if format == "console":
        # The default prints the local variables of each frame, where prompts and keys may be.
        plain = structlog.dev.plain_traceback
        renderer = structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty(), pad_event_to=0, exception_formatter=plain)
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(threshold),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )
    structlog.contextvars.bind_contextvars(service=service)


def get_logger() -> Logger:
    """Returns a logger; call it as `log.info("event_name", field=value)`."""
    logger: Logger = structlog.get_logger()
    return logger
