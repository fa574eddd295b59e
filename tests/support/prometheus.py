"""A real Prometheus that evaluates the rules of deploy/observability at thirty times their pace."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import httpx2
import yaml

from tests.support.deadlines import stretched
from tests.support.ports import free_address
from tests.support.waiting import eventually

PACE = 30
_START_SECONDS = 30.0
_STOP_SECONDS = 10.0
_UNITS = {"s": 1, "m": 60, "h": 3600}
_DURATION = re.compile(r"^(\d+)([smh])$")
_RANGE = re.compile(r"\[(\d+)([smh])\]")


class PrometheusServer:
    """Scrapes twice a second; `async with` starts and ends it. What it writes is under `directory`."""

    def __init__(self, program: Path, directory: Path, rule_files: Sequence[Path]) -> None:
        self._program = program
        self._directory = directory
        self._rule_files = rule_files
        self._address = free_address()
        self._targets: list[dict[str, Any]] = []

    def scrape(self, groups: Sequence[Mapping[str, Any]]) -> None:
        """Scrapes these targets as well; they are in the format of file_sd_configs."""
        self._targets += map(dict, groups)
        path = self._directory / "targets.json"
        new = path.with_suffix(".new")
        new.write_text(json.dumps(self._targets), encoding="utf-8")
        # Prometheus follows the file and must never see half of it.
        new.rename(path)

    def query(self, expression: str) -> list[dict[str, Any]]:
        """Returns the series that an expression has now; fails the test if it cannot be asked."""
        answer = httpx2.get(f"http://{self._address}/api/v1/query", params={"query": expression}).json()
        assert answer["status"] == "success", answer
        result: list[dict[str, Any]] = answer["data"]["result"]
        return result

    def firing(self) -> set[tuple[str, str]]:
        """Returns the alerts that fire, each with its tier if it has one."""
        series = [each["metric"] for each in self.query('ALERTS{alertstate="firing"}')]
        return {(labels["alertname"], labels.get("tier", "")) for labels in series}

    async def __aenter__(self) -> Self:
        for path in self._rule_files:
            (self._directory / path.name).write_text(quickened(path.read_text(encoding="utf-8")), encoding="utf-8")
        configuration = {
            "global": {"scrape_interval": "500ms", "scrape_timeout": "500ms", "evaluation_interval": "500ms"},
            "rule_files": [path.name for path in self._rule_files],
            "scrape_configs": [{"job_name": "tiermesh", "file_sd_configs": [{"files": ["targets.json"]}]}],
        }
        (self._directory / "prometheus.yaml").write_text(yaml.safe_dump(configuration), encoding="utf-8")
        self._process = self._launch()
        try:
            await eventually(self._ready, _START_SECONDS)
        except BaseException:
            self._end()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end()

    def _end(self) -> None:
        self._process.kill()
        self._process.wait(stretched(_STOP_SECONDS))

    def _launch(self) -> subprocess.Popen[bytes]:
        command = [
            str(self._program),
            f"--config.file={self._directory / 'prometheus.yaml'}",
            f"--storage.tsdb.path={self._directory / 'data'}",
            f"--web.listen-address={self._address}",
        ]
        with (self._directory / "prometheus.log").open("wb") as log:
            return subprocess.Popen(command, stdout=log, stderr=log)

    def _ready(self) -> bool:
        assert self._process.poll() is None, (self._directory / "prometheus.log").read_text(errors="replace")
        try:
            return httpx2.get(f"http://{self._address}/-/ready").status_code == 200
        except httpx2.HTTPError:
            return False


def quickened(rules: str) -> str:
    """Returns a file of rules whose windows and waits are shorter; what they compare with stays."""
    loaded = yaml.safe_load(rules)
    for group in loaded["groups"]:
        for rule in group["rules"]:
            rule["expr"] = _RANGE.sub(lambda match: f"[{_quick(*match.groups())}]", rule["expr"])
            if wait := _DURATION.match(rule.get("for", "")):
                rule["for"] = _quick(*wait.groups())
    return yaml.safe_dump(loaded)


def _quick(number: str, unit: str) -> str:
    return f"{int(number) * _UNITS[unit] // PACE}s"
