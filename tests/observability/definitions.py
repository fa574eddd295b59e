"""Reads what deploy/observability defines: dashboards, rules and the names of metrics in them."""

from __future__ import annotations

import importlib.util
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import msgspec

ROOT = Path(__file__).parents[2]
OBSERVABILITY = ROOT / "deploy" / "observability"
PROMETHEUS = OBSERVABILITY / "prometheus"
RUNBOOKS = ROOT / "docs" / "operations" / "runbooks"

# What Grafana puts in place of $__rate_interval is at least four scrapes.
_RATE_INTERVAL = "$__rate_interval"
# Of metrics, recorded series and nothing else: the names of labels and functions begin otherwise.
_NAME = re.compile(r"\b(?:(?:\w+:)?tiermesh(?:_\w+|:\w+)(?::\w+)?|etcd_\w+|process_\w+|up\b|ALERTS\b)")
_WITHOUT_NAMES = re.compile(r"\{[^{}]*\}|\b(?:by|on|group_left|ignoring|without)\s*\([^()]*\)")


def _generator() -> ModuleType:
    name = "tiermesh_dashboards"
    spec = importlib.util.spec_from_file_location(name, OBSERVABILITY / "grafana" / "generate.py")
    assert spec is not None
    assert spec.loader is not None
    module = sys.modules[name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def panels() -> Iterator[tuple[str, Any]]:
    """Yields the name of the dashboard and the definition of each panel."""
    for name, dashboard in _generator().read_dashboards().items():
        for row in dashboard.rows:
            for panel in row.panels:
                yield name, panel


def expressions(panel: Any, rate_interval: str = "1m") -> list[str]:
    """Returns the expressions of a panel as Prometheus gets them."""
    return [query.expr.replace(_RATE_INTERVAL, rate_interval) for query in panel.queries]


def read_yaml(name: str) -> Any:
    """Returns what a file of deploy/observability/prometheus says."""
    return msgspec.yaml.decode((PROMETHEUS / name).read_bytes())


def rules(name: str) -> list[dict[str, Any]]:
    """Returns the rules of a file, of all groups."""
    return [rule for group in read_yaml(name)["groups"] for rule in group["rules"]]


def names_in(expression: str) -> set[str]:
    """Returns the metrics that an expression reads."""
    return set(_NAME.findall(_WITHOUT_NAMES.sub(" ", expression)))
