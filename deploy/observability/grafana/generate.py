"""Makes Grafana's dashboards, NAME.json, of their definitions, NAME.yaml; with --check it only looks.

A definition says what a panel asks and how it is to be read; where it stands and everything that Grafana wants besides
is the same for all and decided here.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any, Literal

import msgspec

_HERE = Path(__file__).parent
_COLUMNS = 24
_HEIGHTS = {"stat": 4, "timeseries": 8}
_VARIABLE = {"name": "datasource", "label": "Data source", "type": "datasource", "query": "prometheus"}
_DATASOURCE = {"type": "prometheus", "uid": "${datasource}"}


class Query(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One expression, and what its series are called."""

    expr: str
    legend: str = ""


class Panel(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One graph. The last two fields are for the tests: when it has data at all."""

    title: str
    queries: list[Query]
    kind: Literal["timeseries", "stat"] = "timeseries"
    description: str = ""
    unit: str = "short"
    width: int = 8
    stack: bool = False
    # Colours, and the values from which they hold.
    thresholds: dict[str, float] = msgspec.field(default_factory=dict)
    empty_until: str = ""
    only_with: str = ""


class Row(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Panels that belong together."""

    title: str
    panels: list[Panel]


class Dashboard(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One page."""

    title: str
    uid: str
    rows: list[Row]


def read_dashboards() -> dict[str, Dashboard]:
    """Returns the definitions by name; raises msgspec.ValidationError for a mistake in one."""
    return {path.stem: msgspec.yaml.decode(path.read_bytes(), type=Dashboard) for path in sorted(_HERE.glob("*.yaml"))}


def render(dashboard: Dashboard) -> str:
    """Returns Grafana's JSON."""
    panels: list[dict[str, Any]] = []
    top = 0
    for row in dashboard.rows:
        panels.append(_row(row.title, top, number=len(panels) + 1))
        top, left, height = top + 1, 0, 0
        for panel in row.panels:
            if left + panel.width > _COLUMNS:
                top, left, height = top + height, 0, 0
            panels.append(_panel(panel, left, top, number=len(panels) + 1))
            left, height = left + panel.width, max(height, _HEIGHTS[panel.kind])
        top += height
    return json.dumps(_page(dashboard, panels), indent=1) + "\n"


def _page(dashboard: Dashboard, panels: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        "title": dashboard.title,
        "uid": dashboard.uid,
        "tags": ["tiermesh"],
        "editable": False,
        "graphTooltip": 1,
        "links": [{"type": "dashboards", "tags": ["tiermesh"], "title": "Tiermesh", "asDropdown": True}],
        "panels": panels,
        "refresh": "30s",
        "schemaVersion": 39,
        "templating": {"list": [_VARIABLE]},
        "time": {"from": "now-3h", "to": "now"},
        "version": 1,
    }


def _row(title: str, top: int, number: int) -> dict[str, Any]:
    place = {"h": 1, "w": _COLUMNS, "x": 0, "y": top}
    return {"id": number, "type": "row", "title": title, "collapsed": False, "gridPos": place, "panels": []}


def _panel(panel: Panel, left: int, top: int, number: int) -> dict[str, Any]:
    steps = [{"color": "green", "value": None}]
    steps += [{"color": colour, "value": value} for colour, value in panel.thresholds.items()]
    defaults: dict[str, Any] = {"unit": panel.unit, "min": 0, "thresholds": {"mode": "absolute", "steps": steps}}
    if panel.kind == "timeseries":
        defaults["custom"] = {"fillOpacity": 10, "stacking": {"mode": "normal" if panel.stack else "none"}}
    return {
        "id": number,
        "type": panel.kind,
        "title": panel.title,
        "description": panel.description,
        "datasource": _DATASOURCE,
        "gridPos": {"h": _HEIGHTS[panel.kind], "w": panel.width, "x": left, "y": top},
        "fieldConfig": {"defaults": defaults, "overrides": []},
        "targets": [
            {
                "refId": chr(ord("A") + index),
                "datasource": _DATASOURCE,
                "expr": query.expr,
                "legendFormat": query.legend,
            }
            for index, query in enumerate(panel.queries)
        ],
    }


def main() -> None:
    """Writes the files, or with --check names those that are not what their definition says."""
    made = {_HERE / f"{name}.json": render(dashboard) for name, dashboard in read_dashboards().items()}
    stale = [path for path, text in made.items() if not path.exists() or path.read_text(encoding="utf-8") != text]
    if "--check" in sys.argv and stale:
        sys.exit(f"not what the definitions say: {', '.join(path.name for path in stale)}; run `make dashboards`")
    for path in stale:
        path.write_text(made[path], encoding="utf-8")


if __name__ == "__main__":
    main()
