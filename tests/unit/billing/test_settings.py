from __future__ import annotations

import pytest

from services.billing.settings import BillingSettings
from services.common.settings import SettingsError, load_settings


def test_the_defaults_serve_one_machine() -> None:
    settings = load_settings(BillingSettings, "billing", {})
    assert settings.database_url == "sqlite:///billing.db"
    assert settings.hold_ttl_seconds == 900.0


@pytest.mark.parametrize("name", ["HOLD_TTL_SECONDS", "SWEEP_SECONDS", "MAX_WAITING", "MAX_BATCH"])
def test_nothing_may_be_zero(name: str) -> None:
    with pytest.raises(SettingsError, match=r"TIERMESH_BILLING_"):
        load_settings(BillingSettings, "billing", {f"TIERMESH_BILLING_{name}": "0"})
