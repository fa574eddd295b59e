"""What the billing service can be told: `TIERMESH_BILLING_<FIELD>`."""

from __future__ import annotations

from typing import Annotated

import msgspec

from services.common.settings import GrpcServiceSettings


class BillingSettings(GrpcServiceSettings, frozen=True, kw_only=True):
    """The settings of one billing process."""

    listen: str = "127.0.0.1:7102"
    # sqlite:///relative/path, sqlite:////absolute/path or postgresql://user:password@host/name.
    database_url: str = "sqlite:///billing.db"
    # A hold that is older, in seconds, belongs to an edge that died: it is released. Longer than any request may take.
    hold_ttl_seconds: Annotated[float, msgspec.Meta(gt=0)] = 900.0
    # How often holds are looked through, in seconds.
    sweep_seconds: Annotated[float, msgspec.Meta(gt=0)] = 10.0
    # How often the whole ledger is audited, in seconds; 0 never. It reads every row, but holds nobody up.
    audit_seconds: Annotated[float, msgspec.Meta(ge=0)] = 900.0
    # How many calls may wait for a transaction; more are refused, so that memory stays bounded.
    max_waiting: Annotated[int, msgspec.Meta(ge=1)] = 10_000
    # How many calls one transaction may carry, so that one burst does not make everyone behind it wait.
    max_batch: Annotated[int, msgspec.Meta(ge=1, le=10_000)] = 256
