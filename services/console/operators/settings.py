"""The settings of the operators' console: `TIERMESH_OPERATOR_CONSOLE_<FIELD>`."""

from __future__ import annotations

from typing import Annotated

import msgspec

from services.common.settings import SettingsError
from services.console.settings import SiteSettings


class OperatorConsoleSettings(SiteSettings, frozen=True, kw_only=True):
    """The settings of one process of the operators' console."""

    # Where the operators' console serves its pages, host:port.
    listen: str = "127.0.0.1:8002"
    # How long after signing in an operator can act without showing the key once more. Unit: seconds.
    fresh_seconds: Annotated[float, msgspec.Meta(gt=0)] = 300.0
    # How long billing may take to audit the ledger. Unit: seconds.
    audit_timeout: Annotated[float, msgspec.Meta(gt=0)] = 60.0
    # The address of Grafana, http or https, for a link on the first page. Empty for no link.
    grafana_url: str = ""

    def __post_init__(self) -> None:
        """Checks what becomes a link."""
        if self.grafana_url and not self.grafana_url.startswith(("https://", "http://")):
            raise SettingsError("GRAFANA_URL must begin with https:// or http://")
