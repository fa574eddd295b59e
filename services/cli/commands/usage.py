"""`tiermesh usage`."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import click

from services.cli.commands.options import management
from services.cli.management.output import Columns, Row, to_row
from services.cli.management.session import Session, find_account
from tiermesh.billing.v1 import billing_pb2

_GROUPS = {
    "day": billing_pb2.USAGE_GROUP_DAY,
    "model": billing_pb2.USAGE_GROUP_MODEL,
    "key": billing_pb2.USAGE_GROUP_KEY,
}
_DAY = click.DateTime(["%Y-%m-%d"])
_DEFAULT_DAYS = 30


@click.command()
@click.argument("account", required=False)
@click.option(
    "--by", type=click.Choice(list(_GROUPS)), default="day", show_default=True, help="How the requests are grouped."
)
@click.option("--from", "first", type=_DAY, help="The first day (UTC).  [default: 30 days including the last]")
@click.option("--to", "last", type=_DAY, help="The last day (UTC).  [default: today]")
@management("auth", "billing")
async def usage(session: Session, account: str | None, by: str, first: datetime | None, last: datetime | None) -> None:
    """Add up the requests of an account.

    ACCOUNT is an ID or a name, by default the local mesh's account.
    """
    account_id = await find_account(session, account)
    today = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    end = (last.replace(tzinfo=UTC) if last else today) + timedelta(days=1)
    begin = first.replace(tzinfo=UTC) if first else end - timedelta(days=_DEFAULT_DAYS)
    if begin >= end:
        raise click.UsageError("--from is later than --to. Choose an earlier day for --from.")
    request = billing_pb2.GetUsageRequest(
        account_id=account_id,
        from_ms=int(begin.timestamp()) * 1000,
        to_ms=int(end.timestamp()) * 1000,
        group_by=_GROUPS[by],
    )
    async with session.billing() as billing:
        response = await billing.call(billing.stub.GetUsage, request)
    # The group of each row has the name of what was asked for.
    rows = [{by: group.group, **_sums(group)} for group in response.groups]
    empty = f"{account_id} made no requests from {begin:%Y-%m-%d} to {end - timedelta(days=1):%Y-%m-%d}."
    session.output.rows(rows, _columns(by), empty=empty)


def _sums(group: billing_pb2.Usage) -> dict[str, int]:
    return {name: value for name, value in to_row(group).items() if name != "group"}


def _columns(by: str) -> Columns:
    names = ("requests", "charged_requests", "credits", "prompt_tokens", "completion_tokens")
    return {by: lambda row: row[by], **{name.replace("_", " "): _number(name) for name in names}}


def _number(name: str) -> Callable[[Row], str]:
    return lambda row: f"{row[name]:,}"
