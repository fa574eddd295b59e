"""`tiermesh prometheus-targets`: what a Prometheus beside a local mesh reads."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import urlsplit

import click

from services.cli.commands.options import state_directory_option
from services.cli.errors import CliError
from services.cli.state import StateDirectory


@click.command("prometheus-targets")
@state_directory_option
def prometheus_targets(state_dir: Path) -> None:
    """List the metrics of the local mesh for Prometheus.

    The output has the address of each process. Redirect the output to a file, and name this file in file_sd_configs of
    Prometheus.
    """
    mesh = StateDirectory(state_dir).load_mesh()
    if mesh is None:
        raise CliError(
            f"No mesh runs in {state_dir}. Start one with `tiermesh up`, or choose its directory with --state-dir."
        )
    click.echo(json.dumps(target_groups(mesh.metrics), indent=1))


def target_groups(metrics: Mapping[str, str]) -> list[dict[str, object]]:
    """Returns the processes and their URLs in the format of file_sd_configs, with the labels of the rules.

    https://prometheus.io/docs/prometheus/latest/configuration/configuration/#file_sd_config
    """
    return [
        {
            "targets": [urlsplit(url).netloc],
            # Runners are named by their tiers.
            "labels": {"job": f"tiermesh-{name.partition('-')[0].replace('_', '-')}", "instance": name},
        }
        for name, url in metrics.items()
    ]
