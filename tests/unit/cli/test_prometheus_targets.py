"""Prometheus gets the targets in its own format, with the labels that the rules ask for."""

from __future__ import annotations

from pathlib import Path

from click.testing import CliRunner

from services.cli.commands.prometheus_targets import prometheus_targets, target_groups


def test_processes_become_targets_with_the_job_of_their_service() -> None:
    groups = target_groups({"edge": "http://127.0.0.1:9/metrics", "runner-pro": "http://127.0.0.1:8/metrics"})
    assert groups == [
        {"targets": ["127.0.0.1:9"], "labels": {"job": "tiermesh-edge", "instance": "edge"}},
        {"targets": ["127.0.0.1:8"], "labels": {"job": "tiermesh-runner", "instance": "runner-pro"}},
    ]


def test_without_a_mesh_the_command_says_how_to_start_one(tmp_path: Path) -> None:
    result = CliRunner().invoke(prometheus_targets, ["--state-dir", str(tmp_path)])
    assert result.exit_code == 1
    assert "tiermesh up" in result.output
