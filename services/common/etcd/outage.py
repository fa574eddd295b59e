"""One log line when something is lost and one when it is back, however many attempts lie between."""

from __future__ import annotations

from services.common.telemetry.logs import get_logger


class Outage:
    """Whether `what` is lost; the log events are `<what>_lost` and `<what>_recovered`."""

    def __init__(self, what: str, **fields: str) -> None:
        self._what = what
        self._fields = fields
        self._lost = False

    def begin(self, reason: str) -> None:
        """Notes a failure; only the first one since the last recovery is logged."""
        if not self._lost:
            self._lost = True
            get_logger().warning(f"{self._what}_lost", reason=reason, **self._fields)

    def end(self) -> None:
        """Notes a success; logged only if it ends an outage."""
        if self._lost:
            self._lost = False
            get_logger().info(f"{self._what}_recovered", **self._fields)
