"""Reads the log lines of services and of etcd, and shows the important ones to a person."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import msgspec

# Shown first or not at all.
_ENVELOPE = frozenset({"event", "msg", "level", "service", "timestamp", "ts", "caller", "logger", "exception"})
_SILENT = frozenset({"debug", "info"})
_WARNING = frozenset({"warning", "warn"})


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
