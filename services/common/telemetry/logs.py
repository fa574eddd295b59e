"""Structured logs: one event name with fields; JSON for machines, coloured lines for people.

Prompts, answers and keys are never fields. Request ids are, so that one request can be followed through the mesh.
Exceptions are logged without their messages (see `tracebacks`), ours and those that libraries log alike.
"""

from __future__ import annotations

import contextlib
import copy
import logging
import re
import sys
from types import TracebackType
from typing import Any, TextIO, cast

from services.common.settings import SettingsError
from services.common.telemetry.lean_structlog import structlog
from services.common.telemetry.tracebacks import describe

Logger = structlog.typing.FilteringBoundLogger

# What asyncio says before it shows tasks, arguments and exceptions.
_PLAIN_WORDS = re.compile(r"[A-Za-z ]*")


def configure_logs(service: str, *, format: str, level: str) -> None:  # noqa: A002 - the setting has this name
    """Sends the process's logs to standard error; `format` is "console" or "json"."""
    if format not in {"console", "json"}:
        raise SettingsError(f'LOG_FORMAT is "console" or "json", not {format!r}')
    threshold = logging.getLevelNamesMapping().get(level.upper())
    if threshold is None:
        raise SettingsError(f"LOG_LEVEL is debug, info, warning or error, not {level!r}")
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_LibraryFormatter("%(name)s: %(message)s"))
    logging.basicConfig(level=max(threshold, logging.WARNING), handlers=[handler])
    sys.excepthook = _report_crash
    renderer: Any = structlog.processors.JSONRenderer()
    if format == "console":
        renderer = structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty(), pad_event_to=0)
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.ExceptionRenderer(lambda info: describe(info[1])),
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(threshold),
        logger_factory=structlog.PrintLoggerFactory(cast("TextIO", _Output(sys.stderr))),
        cache_logger_on_first_use=True,
    )
    structlog.contextvars.bind_contextvars(service=service)


def get_logger() -> Logger:
    """Returns a logger; call it as `log.info("event_name", field=value)`."""
    logger: Logger = structlog.get_logger()
    return logger


class _Output:
    """Writes lines, and loses those that cannot be written: a full disk must not end the work that logs about it."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> None:
        with contextlib.suppress(OSError):
            self._stream.write(text)

    def flush(self) -> None:
        with contextlib.suppress(OSError):
            self._stream.flush()


class _LibraryFormatter(logging.Formatter):
    """Formats the records of libraries, which know nothing of prompts and keys and may quote them."""

    def format(self, record: logging.LogRecord) -> str:
        if record.name == "asyncio":
            record = copy.copy(record)
            words = _PLAIN_WORDS.match(record.getMessage())
            record.msg, record.args = (words[0] if words else ""), ()
        return super().format(record)

    def formatException(self, ei: Any) -> str:  # noqa: N802 - the name of the method that it replaces
        return describe(ei[1])


def _report_crash(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    del kind
    get_logger().critical("crashed", exception=describe(error.with_traceback(trace)))
