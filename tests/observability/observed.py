"""A mesh of two tiers with a Prometheus beside it."""

from __future__ import annotations

import json
from contextlib import AsyncExitStack
from pathlib import Path

import httpx2

from tests.observability.definitions import PROMETHEUS
from tests.observability.load import Client
from tests.support import programs
from tests.support.mesh import LocalMesh
from tests.support.process import ServiceProcess
from tests.support.prometheus import PrometheusServer

# Seconds within which every panel has data and every alert fires.
PATIENCE = 40.0
SETTINGS = {
    "TIERMESH_RUNNER_SIMULATED_SPEED": "50",
    "TIERMESH_RUNNER_SIMULATED_PREFILL_SPEED": "500",
    "TIERMESH_BILLING_HOLD_TTL_SECONDS": "3",
    # Sweeps once at the start and then never again.
    "TIERMESH_BILLING_SWEEP_SECONDS": "100000",
    "TIERMESH_BILLING_AUDIT_SECONDS": "1",
}
CATALOG = """
models:
  - {id: tiermesh-pro, kind: chat, tier: pro, price: 10, context: 4096}
  - {id: tiermesh-max, kind: chat, tier: max, price: 15, context: 4096}
"""


class Observed:
    """The mesh runs tier pro; tier max has one runner that nobody starts again if it dies."""

    def __init__(self, directory: Path, prometheus: Path) -> None:
        self._directory = directory
        self._stack = AsyncExitStack()
        catalog = directory / "models.yaml"
        catalog.write_text(CATALOG, encoding="utf-8")
        self._catalog = str(catalog)
        options = ("--models", self._catalog, "--console-port", "0", "--chain")
        self.mesh = LocalMesh(directory, *options, environ={**SETTINGS, "PATH": programs.path_with_anvil()})
        rule_files = [PROMETHEUS / name for name in ("recording.yaml", "alerts.yaml")]
        (directory / "prometheus").mkdir()
        self.prometheus = PrometheusServer(prometheus, directory / "prometheus", rule_files)

    async def start(self) -> None:
        """Starts everything; Prometheus gets its targets as an operator's would."""
        try:
            await self._start()
        except BaseException:
            await self.stop()
            raise

    async def _start(self) -> None:
        await self._stack.enter_async_context(self.mesh)
        done = await self.mesh.run_command("prometheus-targets")
        assert done.returncode == 0, done.stderr
        await self._stack.enter_async_context(self.prometheus)
        self.prometheus.scrape(json.loads(done.stdout))
        settings = {**self.mesh.etcd_settings, "engine": "simulated", "tier": "max", "slots": "2"}
        self.runner = self.process("runner", {**settings, **self.mesh.tls_settings("runner")})
        await self._stack.enter_async_context(self.runner)
        self.scrape("tiermesh-runner", "runner-max", self.runner)
        self.client = Client(self.mesh, self.mesh.unlimited_key)

    async def stop(self) -> None:
        """Ends everything."""
        await self._stack.aclose()

    def process(self, service: str, settings: dict[str, str]) -> ServiceProcess:
        """Returns a further process of the mesh."""
        return ServiceProcess(service, self._directory, {"catalog_file": self._catalog, **settings})

    def scrape(self, job: str, instance: str, process: ServiceProcess) -> None:
        """Has Prometheus read a further process."""
        self.prometheus.scrape([{"targets": [process.admin_address], "labels": {"job": job, "instance": instance}}])

    def metrics(self) -> list[str]:
        """Returns what each process exports now."""
        runner = f"http://{self.runner.admin_address}/metrics"
        return [httpx2.get(url).text for url in [*self.mesh.metrics.values(), runner]]
