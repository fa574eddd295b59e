"""Rules and dashboards are well-formed, and each alert fires when it should and is silent when not."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.observability.definitions import (
    OBSERVABILITY,
    PROMETHEUS,
    ROOT,
    RUNBOOKS,
    expressions,
    names_in,
    panels,
    read_yaml,
    rules,
)
from tests.support.deadlines import stretched

ALERTS = rules("alerts.yaml")
RECORDED = {rule["record"] for rule in rules("recording.yaml")}


def run(*command: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, cwd=PROMETHEUS, capture_output=True, text=True, timeout=stretched(60), check=False)


def test_the_rules_are_well_formed(promtool: Path) -> None:
    done = run(promtool, "check", "rules", "--lint=all", "--lint-fatal", "recording.yaml", "alerts.yaml")
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("name", ["prometheus.yaml", "local.yaml"])
def test_prometheus_takes_the_configurations(promtool: Path, tmp_path: Path, name: str) -> None:
    configuration = read_yaml(name)
    for scrape in configuration["scrape_configs"]:
        # Debian's Prometheus is built without Kubernetes.
        scrape.pop("kubernetes_sd_configs", None)
    path = tmp_path / name
    path.write_text(yaml.safe_dump(configuration), encoding="utf-8")
    done = run(promtool, "check", "config", "--syntax-only", path)
    assert done.returncode == 0, done.stdout + done.stderr


def test_alerts_fire_and_are_silent_as_the_cases_say(promtool: Path) -> None:
    done = run(promtool, "test", "rules", "alerts.test.yaml")
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_alert_has_a_case_that_fires_and_one_that_does_not() -> None:
    # Each case says all that fires, so an alert is silent in the cases that do not name it.
    text = (PROMETHEUS / "alerts.test.yaml").read_text(encoding="utf-8")
    cases: list[dict[str, Any]] = yaml.safe_load(text)["tests"]
    fired = [str(case["promql_expr_test"][0].get("exp_samples", [])) for case in cases]
    assert fired[0] == "[]"
    for alert in ALERTS:
        assert any(f'alertname="{alert["alert"]}"' in samples for samples in fired), alert["alert"]
        # The first case has the series that this alert reads, or else its silence would mean nothing.
        read = {name for name in names_in(alert["expr"]) if name not in RECORDED}
        series = " ".join(str(each["series"]) for each in cases[0]["input_series"])
        assert all(name in series for name in read), alert["alert"]


def test_every_alert_tells_what_to_do() -> None:
    for alert in ALERTS:
        name, annotations = alert["alert"], alert["annotations"]
        assert alert["labels"]["severity"] in {"warning", "critical"}
        assert annotations["summary"]
        assert annotations["description"]
        page = ROOT / annotations["runbook_url"]
        assert page == RUNBOOKS / f"{name}.md"
        assert page.read_text(encoding="utf-8").startswith(f"# {name}\n")
    assert {page.stem for page in RUNBOOKS.glob("*.md")} == {alert["alert"] for alert in ALERTS}


def test_the_dashboards_are_what_their_definitions_say() -> None:
    done = run(sys.executable, OBSERVABILITY / "grafana" / "generate.py", "--check")
    assert done.returncode == 0, done.stderr


def test_promtool_parses_every_expression_of_the_dashboards(promtool: Path, tmp_path: Path) -> None:
    asked = [expression for _, panel in panels() for expression in expressions(panel)]
    assert len(asked) > 50
    group = {"name": "dashboards", "rules": [{"record": f"panel:{i}", "expr": each} for i, each in enumerate(asked)]}
    path = tmp_path / "expressions.yaml"
    path.write_text(yaml.safe_dump({"groups": [group]}), encoding="utf-8")
    done = run(promtool, "check", "rules", path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"{len(asked)} rules found" in done.stdout
