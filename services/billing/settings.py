"""The settings of the billing service: `TIERMESH_BILLING_<FIELD>`."""

from __future__ import annotations

from typing import Annotated

import msgspec

from services.common.settings import GrpcServiceSettings


class BillingSettings(GrpcServiceSettings, frozen=True, kw_only=True):
    """The settings of one billing process."""

    # Where the service listens, host:port.
    listen: str = "127.0.0.1:7102"
    # The callers that billing accepts under mutual TLS, as for every service; payments is one of them.
    tls_client_names: str = "edge,console,operator-console,payments,operator"
    # The database: sqlite:///relative/path, sqlite:////absolute/path or postgresql://user:password@host/name.
    database_url: str = "sqlite:///billing.db"
    # The age at which a hold is released, because its edge must have died. Set it longer than any request may take.
    # Unit: seconds.
    hold_ttl_seconds: Annotated[float, msgspec.Meta(gt=0)] = 900.0
    # How often billing looks for such holds. Unit: seconds.
    sweep_seconds: Annotated[float, msgspec.Meta(gt=0)] = 10.0
    # How often billing audits what is new in the ledger, and compares all balances with it; 0 turns these audits off.
    # Unit: seconds.
    audit_seconds: Annotated[float, msgspec.Meta(ge=0)] = 900.0
    # How often each billing process audits the whole ledger, the first time after this long; 0 turns these audits off.
    # Such an audit reads every row, slice by slice with pauses, and delays no request.
    # Unit: seconds.
    full_audit_seconds: Annotated[float, msgspec.Meta(ge=0)] = 86_400.0
    # How many calls may wait for a transaction. Further calls are refused, so that memory stays limited.
    max_waiting: Annotated[int, msgspec.Meta(ge=1)] = 10_000
    # How many calls one transaction may carry, so that a burst does not delay all calls behind it.
    max_batch: Annotated[int, msgspec.Meta(ge=1, le=10_000)] = 256
