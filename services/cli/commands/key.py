"""`tiermesh key …`."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import click

from services.cli.commands.options import management
from services.cli.management.keys import list_keys as all_keys
from services.cli.management.output import Row, to_row
from services.cli.management.recording import recorded
from services.cli.management.session import Session, find_account
from services.cli.management.wording import moment
from services.common.clock import system_clock, to_ms
from services.common.scopes import ENDPOINTS, MANAGEMENT, ORDINARY
from tiermesh.auth.v1 import auth_pb2

_MAX_UINT32 = 2**32 - 1


@click.group()
def key() -> None:
    """Create, list, rotate and revoke API keys."""


@key.command()
@click.argument("account", required=False)
@click.option("--name", default="", help="A label for people.")
@click.option("--rpm", type=click.IntRange(0, _MAX_UINT32), help="Requests per minute; 0 means no limit. Default: 60.")
@click.option(
    "--expires-in",
    type=click.FloatRange(0, 100_000, min_open=True),
    metavar="DAYS",
    help="Days until the key expires. Default: never.",
)
@click.option(
    "--model", "models", multiple=True, help="Allow only this model. Repeat it for more. Default: all models."
)
@click.option(
    "--endpoint",
    "endpoints",
    multiple=True,
    type=click.Choice(ENDPOINTS),
    help=f"Allow only this endpoint. Repeat it for more. Default: all except '{MANAGEMENT}', the management of keys.",
)
@click.option(
    "--all-endpoints",
    is_flag=True,
    help=f"Allow every endpoint, '{MANAGEMENT}' included. Such a key signs in to the console.",
)
@click.option(
    "--monthly-cap",
    type=click.IntRange(0),
    metavar="CREDITS",
    help="The most credits to spend in a month. Default: no cap.",
)
@management("auth")
async def create(
    session: Session,
    /,
    account: str | None,
    expires_in: float | None,
    rpm: int | None,
    monthly_cap: int | None,
    all_endpoints: bool,
    **given: Any,
) -> None:
    """Create a key for an account. The key is shown only once.

    ACCOUNT is an ID or a name, by default the local mesh's account.
    """
    if all_endpoints:
        given["endpoints"] = ENDPOINTS
    expires_at = system_clock() + timedelta(days=expires_in).total_seconds() if expires_in else 0
    request = auth_pb2.CreateKeyRequest(
        account_id=await find_account(session, account),
        requests_per_minute=rpm,
        monthly_credit_cap=monthly_cap,
        expires_at_ms=to_ms(expires_at),
        # The name, models and endpoints.
        **given,
    )
    async with recorded(session, "create_key", request.account_id, request.name), session.auth() as auth:
        response = await auth.call(auth.stub.CreateKey, request)
    row = {"api_key": response.api_key, **to_row(response.key)}
    session.output.record(row, _created(session, row))


@key.command("list")
@click.argument("account", required=False)
@management("auth")
async def list_keys(session: Session, account: str | None) -> None:
    """List the keys of an account, or all keys, oldest first.

    ACCOUNT is an ID or a name.
    """
    account_id = await find_account(session, account) if account else ""
    async with session.auth() as auth:
        keys = await all_keys(auth, account_id)
    session.output.rows(
        [to_row(each) for each in keys],
        {
            "key": lambda row: row["id"],
            "starts with": lambda row: row["hint"],
            "name": lambda row: row["name"],
            "account": lambda row: row["account_id"],
            "per minute": _limit,
            "may use": _scopes,
            "monthly cap": lambda row: str(row["monthly_credit_cap"] or "none"),
            "made by": lambda row: row["created_by"] or "operator",
            "last used": lambda row: moment(row["last_used_at_ms"], "never"),
            "state": _state,
        },
        empty=f"There is no key yet. Create one with `{session.command('key create ACCOUNT')}`.",
    )


@key.command()
@click.argument("key_id")
@click.option(
    "--overlap-hours",
    type=click.FloatRange(0, 24 * 365),
    default=24.0,
    show_default=True,
    help="How long the old key keeps working.",
)
@management("auth")
async def rotate(session: Session, key_id: str, overlap_hours: float) -> None:
    """Create a key with the settings of KEY_ID (key_…). The old key stops working after the overlap."""
    request = auth_pb2.RotateKeyRequest(key_id=key_id, overlap_seconds=round(overlap_hours * 3600))
    async with recorded(session, "rotate_key", key_id), session.auth() as auth:
        response = await auth.call(auth.stub.RotateKey, request)
    row = {"api_key": response.api_key, **to_row(response.key)}
    ends = moment(response.old_key.expires_at_ms, "")
    session.output.record(
        {**row, "old_key": to_row(response.old_key)},
        f"{_created(session, row)}\nThe old key, {key_id}, works until {ends}.",
    )


@key.command()
@click.argument("key_id")
@click.option(
    "--descendants",
    is_flag=True,
    help="Also revoke the keys that it and its rotations created, and those that these created.",
)
@management("auth")
async def revoke(session: Session, key_id: str, descendants: bool) -> None:
    """Revoke the key KEY_ID (key_…) permanently."""
    request = auth_pb2.RevokeKeyRequest(key_id=key_id, descendants=descendants)
    detail = "with descendants" if descendants else ""
    async with recorded(session, "revoke_key", key_id, detail), session.auth() as auth:
        response = await auth.call(auth.stub.RevokeKey, request)
    row = {**to_row(response.key), "descendants": [each.id for each in response.descendants]}
    text = f"Revoked {row['id']} ({row['hint']}…). Requests with it now get status 401."
    if descendants:
        text += f"\nThis also revoked these descendants: {', '.join(row['descendants']) or 'none'}."
    session.output.record(row, text)


def _created(session: Session, row: dict[str, Any]) -> str:
    limit = f"{_limit(row)} requests a minute" if row["requests_per_minute"] else "no rate limit"
    return (
        f"{row['api_key']}\n\n"
        f"Store it now. It cannot be shown again. Account {row['account_id']}, {limit}, {_state(row)}.\n"
        f"To revoke it: {session.command('key revoke ' + row['id'])}"
    )


def _limit(row: Row) -> str:
    return str(row["requests_per_minute"] or "no limit")


def _scopes(row: Row) -> str:
    endpoints = ", ".join(row["endpoints"] or ORDINARY)
    return f"{endpoints}; {', '.join(row['models'])}" if row["models"] else endpoints


def _state(row: Row) -> str:
    if row["revoked_at_ms"]:
        return f"revoked {moment(row['revoked_at_ms'], '')}"
    if not row["expires_at_ms"]:
        return "active"
    ended = row["expires_at_ms"] <= to_ms(system_clock())
    return f"{'expired' if ended else 'expires'} {moment(row['expires_at_ms'], '')}"
