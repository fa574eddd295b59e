"""Where a child's output goes: every line into its log file, important lines to the terminal as well."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from logging.handlers import RotatingFileHandler
from pathlib import Path
from typing import Any

import msgspec

# Shown first or not at all.
_ENVELOPE = frozenset({"event", "msg", "level", "service", "timestamp", "ts", "caller", "logger", "exception"})
_SILENT = frozenset({"debug", "info"})
_WARNING = frozenset({"warning", "warn"})


# A mesh that runs for weeks does not fill the disk: each service keeps two files of this size.
_FILE_BYTES = 10 * 1024 * 1024
_CHUNK_BYTES = 64 * 1024
_REMEMBERED_LINES = 15


@dataclass(frozen=True)
class LogLine:
    """One line; `level` is in lower case, and "" where the line is no structured log, such as a traceback."""

    level: str
    text: str
    fields: dict[str, Any] = field(default_factory=dict)
    exception: str = ""

    @property
    def important(self) -> bool:
        """Whether it belongs on the terminal and not only in the log file."""
        return self.level not in _SILENT

    @property
    def warning(self) -> bool:
        """Whether it tells of something that is wrong but healing, or about to end."""
        return self.level in _WARNING or self.text.startswith("WARNING")

    def __str__(self) -> str:
        fields = "".join(f" {name}={_plain(value)}" for name, value in self.fields.items())
        # The last line of a traceback names the error; the log file has the rest.
        cause = f" ({self.exception.strip().splitlines()[-1]})" if self.exception.strip() else ""
        level = f"{self.level}: " if self.level else ""
        return f"{level}{self.text}{fields}{cause}"


def parse_log_line(line: str) -> LogLine:
    """Understands structlog's JSON and zap's; anything else is plain text."""
    try:
        content = msgspec.json.decode(line)
    except msgspec.DecodeError:
        return LogLine("", line)
    if not isinstance(content, dict) or "level" not in content:
        return LogLine("", line)
    text = content.get("event", content.get("msg", ""))
    fields = {name: value for name, value in content.items() if name not in _ENVELOPE}
    return LogLine(str(content["level"]).lower(), str(text), fields, str(content.get("exception", "")))


def _plain(value: Any) -> str:
    if isinstance(value, str):
        return value if value and " " not in value else f"'{value}'"
    return msgspec.json.encode(value).decode()


Show = Callable[[str, LogLine], None]


class LogOutput:
    """The output of one service, over all its restarts."""

    def __init__(self, service: str, path: Path, show: Show) -> None:
        self.path = path
        # The last lines, for the message about a start that failed.
        self.recent: deque[LogLine] = deque(maxlen=_REMEMBERED_LINES)
        # Off where warnings are expected, as while everything is being started or stopped.
        self.show_warnings = False
        self._service = service
        self._show = show
        self._file = RotatingFileHandler(path, maxBytes=_FILE_BYTES, backupCount=1, encoding="utf-8")

    async def follow(self, stream: asyncio.StreamReader, *, shown: bool = True) -> None:
        """Takes everything the stream yields until it ends; a line of any length does no harm.

        Without `shown`, nothing of it goes to the terminal.
        """
        rest = b""
        while chunk := await stream.read(_CHUNK_BYTES):
            *lines, rest = (rest + chunk).split(b"\n")
            if len(rest) > _CHUNK_BYTES:
                lines, rest = [*lines, rest], b""
            for line in lines:
                self._take(line, shown)
        if rest:
            self._take(rest, shown)

    def close(self) -> None:
        """Closes the file."""
        self._file.close()

    def _take(self, raw: bytes, shown: bool) -> None:
        text = raw.decode(errors="replace").rstrip()
        if not text:
            return
        self._file.emit(logging.makeLogRecord({"msg": text}))
        line = parse_log_line(text)
        self.recent.append(line)
        if shown and line.important and (self.show_warnings or not line.warning):
            self._show(self._service, line)
