"""What was used, by day, model or key: a chart, the same figures as a table, and as a file."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from aiohttp import web

from services.common.clock import Clock
from services.common.errors import Code, MeshError
from services.console.http.headers import NOT_STORED
from services.console.mesh import Mesh
from services.console.page import Page
from services.console.period import Period, parse_period
from services.console.rendering import Renderer
from services.console.visit import Visit
from tiermesh.billing.v1 import billing_pb2

GROUPS = {
    "day": billing_pb2.USAGE_GROUP_DAY,
    "model": billing_pb2.USAGE_GROUP_MODEL,
    "key": billing_pb2.USAGE_GROUP_KEY,
}
# The keys whose names are looked up; others are shown by their ids.
_MOST_NAMES = 1000
# How many rows the table has at most, and how many bars, if they are no days.
_MOST_SHOWN = 100
_FIELDS = ("requests", "charged_requests", "credits", "prompt_tokens", "completion_tokens")


class Bar(NamedTuple):
    """One bar of the chart, in percent of the highest one."""

    label: str
    credits: int
    percent: float


class Usage:
    """Serves the usage of an account. All sums come from billing."""

    def __init__(self, renderer: Renderer, mesh: Mesh, clock: Clock) -> None:
        self._renderer = renderer
        self._mesh = mesh
        self._clock = clock

    def pages(self) -> tuple[Page, ...]:
        """Returns the routes."""
        return (
            Page(path="/usage", name="usage", handler=self.show),
            Page(path="/usage.csv", name="usage_csv", handler=self.export),
        )

    async def show(self, visit: Visit) -> web.StreamResponse:
        """Answers GET /usage."""
        query = visit.request.query
        group_by = _group_by(query)
        try:
            period = parse_period(query, self._clock())
            groups = await self._groups(visit, period, group_by)
        except MeshError as error:
            if error.code is not Code.INVALID_REQUEST:
                raise
            period = parse_period({}, self._clock())
            return self._page(visit, period, group_by, (), {}, problem=error.message, status=400)
        names = await self._names(visit) if group_by == "key" and groups else {}
        return self._page(visit, period, group_by, groups, names)

    async def export(self, visit: Visit) -> web.StreamResponse:
        """Answers GET /usage.csv with the same figures."""
        query = visit.request.query
        group_by = _group_by(query)
        period = parse_period(query, self._clock())
        text = io.StringIO()
        writer = csv.writer(text)
        writer.writerow((group_by, *_FIELDS))
        for group in await self._groups(visit, period, group_by):
            writer.writerow((group.group, *(getattr(group, name) for name in _FIELDS)))
        name = f"usage-by-{group_by}-{period.first}-{period.last}.csv"
        headers = {"Content-Disposition": f'attachment; filename="{name}"', "Cache-Control": NOT_STORED}
        return web.Response(text=text.getvalue(), content_type="text/csv", headers=headers)

    async def _groups(self, visit: Visit, period: Period, group_by: str) -> Sequence[billing_pb2.Usage]:
        return await self._mesh.usage(visit.owner.account_id, period.from_ms, period.to_ms, GROUPS[group_by])

    async def _names(self, visit: Visit) -> dict[str, str]:
        keys = (await self._mesh.keys(visit.owner.account_id, size=_MOST_NAMES, of_sessions=True)).keys
        return {key.id: key.name or f"{key.hint}…" for key in keys}

    def _page(
        self,
        visit: Visit,
        period: Period,
        group_by: str,
        groups: Sequence[billing_pb2.Usage],
        names: Mapping[str, str],
        *,
        problem: str = "",
        status: int = 200,
    ) -> web.Response:
        shown = _shown(groups, group_by)
        return self._renderer.page(
            "usage",
            visit,
            status=status,
            period=period,
            group_by=group_by,
            groups=shown,
            left_out=len(groups) - len(shown),
            names=names,
            bars=_bars(groups if group_by == "day" else shown, period, group_by),
            total={name: sum(getattr(group, name) for group in groups) for name in _FIELDS},
            choices=tuple(GROUPS),
            problem=problem,
        )


def _group_by(query: Mapping[str, str]) -> str:
    group_by = query.get("group_by", "day")
    return group_by if group_by in GROUPS else "day"


def _shown(groups: Sequence[billing_pb2.Usage], group_by: str) -> Sequence[billing_pb2.Usage]:
    """Returns the newest days, or the models or keys with the most credits first."""
    if group_by == "day":
        return groups[::-1][:_MOST_SHOWN]
    return sorted(groups, key=lambda group: -group.credits)[:_MOST_SHOWN]


def _bars(groups: Sequence[billing_pb2.Usage], period: Period, group_by: str) -> list[Bar]:
    """Returns a bar for each group; by day, one for each day of the period, those without requests too."""
    sums = {group.group: group.credits for group in groups}
    labels = [day.isoformat() for day in period.days()] if group_by == "day" else list(sums)
    highest = max(sums.values(), default=0)
    return [
        Bar(label, sums.get(label, 0), round(100 * sums.get(label, 0) / highest, 2) if highest else 0.0)
        for label in labels
    ]
