"""`tiermesh doctor` on a real mesh: whole, and with one thing after another broken."""

from __future__ import annotations

import json
import signal
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest

from services.cli.doctor.edge import look_at_edge
from services.cli.doctor.finding import Verdict
from tests.support.certificates import EXPIRED, EXPIRING, CertificateAuthority
from tests.support.mesh import LocalMesh, any_alive, run_tiermesh
from tests.support.waiting import eventually

CATALOG = "models:\n  - {id: tiermesh-pro, kind: chat, tier: pro, price: 10, context: 4096}\n"
Found = dict[tuple[str, str], dict[str, str]]


class Patient:
    """A mesh with mutual TLS and one model, and the authority of its certificates."""

    def __init__(self, directory: Path) -> None:
        catalog = directory / "models.yaml"
        catalog.write_text(CATALOG)
        self.authority = CertificateAuthority()
        self.mesh = LocalMesh(directory, "--tls", "--models", str(catalog))
        self.authority.issue_all(self.certificates)

    @property
    def certificates(self) -> Path:
        return self.mesh.state_dir / "tls"

    async def examine(self, *options: str) -> tuple[int, Found]:
        """Returns the exit status and the findings, by check and the first word of what was looked at."""
        done = await self.mesh.run_command("doctor", "--json", *options)
        assert done.stderr == ""
        content = json.loads(done.stdout)
        assert content["healthy"] is (done.returncode == 0)
        return done.returncode, {(each["check"], each["target"].split()[0]): each for each in content["findings"]}

    async def recovered(self) -> bool:
        return (await self.examine("--strict"))[0] == 0

    @asynccontextmanager
    async def without(self, service: str) -> AsyncIterator[None]:
        """Kills a service, which is not started again before the end."""
        killed = psutil.Process(self.mesh.pids[service])
        self.mesh.process.send_signal(signal.SIGSTOP)
        try:
            killed.kill()
            # Its parent, which is stopped, does not bury it.
            await eventually(lambda: not any_alive([killed]))
            yield
        finally:
            self.mesh.process.send_signal(signal.SIGCONT)
            await eventually(self.recovered, 60)


@pytest.fixture(scope="module")
def patient(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Patient]:
    patient = Patient(tmp_path_factory.mktemp("doctor"))
    with patient.mesh:
        yield patient


def failures(found: Found) -> set[tuple[str, str]]:
    return {key for key, each in found.items() if each["verdict"] == "failed"}


async def test_a_healthy_mesh_is_all_ok(patient: Patient) -> None:
    status, found = await patient.examine("--strict")
    assert status == 0
    assert {each["verdict"] for each in found.values()} == {"ok"}
    everything = {
        *(("health", name) for name in ("auth", "billing", "router", "runner")),
        *(("certificate", name) for name in ("operator's", "auth", "billing", "router", "runner", "etcd")),
        *(("etcd", what) for what in ("member", "quorum")),
        *((check, "all") for check in ("version", "catalog")),
        ("models", "tiermesh-pro"),
        ("registration", "runner"),
        ("ledger", "billing"),
    }
    assert everything <= found.keys()
    assert {check for check, _ in found} >= {"edge", "clock"}


async def test_people_read_a_line_for_each(patient: Patient) -> None:
    done = await patient.mesh.run_command("doctor")
    assert done.returncode == 0
    *lines, last = done.stdout.splitlines()
    assert last == "0 failures and 0 warnings."
    assert all(line.startswith("ok ") for line in lines)


async def test_a_killed_runner_is_named(patient: Patient) -> None:
    async with patient.without("runner-pro"):
        status, found = await patient.examine()
    assert status == 1
    assert found["models", "tiermesh-pro"]["verdict"] == "warning"
    assert ("models", "all") in failures(found)
    # Once its lease has ended, nothing else knows of it.
    assert failures(found) <= {
        ("models", "all"),
        ("health", "runner"),
        ("certificate", "runner"),
        ("registration", "runner"),
    }


async def test_a_runner_that_hangs_is_named(patient: Patient) -> None:
    runner = psutil.Process(patient.mesh.pids["runner-pro"])
    runner.suspend()
    try:
        status, found = await patient.examine()
    finally:
        runner.resume()
        await eventually(patient.recovered, 60)
    assert status == 1
    assert ("health", "runner") in failures(found)
    assert found["health", "auth"]["verdict"] == "ok"


async def test_a_stopped_billing_hides_nothing_else(patient: Patient) -> None:
    async with patient.without("billing"):
        status, found = await patient.examine()
    assert status == 1
    assert failures(found) == {("health", "billing"), ("certificate", "billing"), ("ledger", "billing")}
    assert "cannot be reached" in found["health", "billing"]["detail"]
    assert "start billing" in found["health", "billing"]["fix"]


async def test_a_stopped_etcd_is_named(patient: Patient) -> None:
    async with patient.without("etcd"):
        status, found = await patient.examine()
    assert status == 1
    assert failures(found) == {("etcd", "member"), ("etcd", "quorum"), ("certificate", "etcd")}


async def test_a_stopped_edge_is_named(patient: Patient) -> None:
    async with patient.without("edge"):
        status, found = await patient.examine()
    assert status == 1
    assert {check for check, _ in failures(found)} == {"edge"}


async def test_an_expired_certificate_is_named(patient: Patient) -> None:
    patient.authority.issue(patient.certificates / "billing", "tiermesh-billing", age=EXPIRED)
    try:
        status, found = await patient.examine()
    finally:
        patient.authority.issue(patient.certificates / "billing", "tiermesh-billing")
        await eventually(patient.recovered, 30)
    assert status == 1
    assert "certificate has expired" in found["certificate", "billing"]["detail"]
    assert ("health", "billing") in failures(found)
    assert ("health", "auth") not in failures(found)


async def test_the_operators_own_expired_certificate_is_named(patient: Patient) -> None:
    operator = patient.certificates / "operator"
    patient.authority.issue(operator, "tiermesh-operator", age=EXPIRED)
    try:
        status, found = await patient.examine()
    finally:
        patient.authority.issue(operator, "tiermesh-operator")
    assert status == 1
    assert "certificate has expired" in found["certificate", "operator's"]["detail"]


async def test_a_server_with_the_wrong_name_is_named(patient: Patient) -> None:
    patient.authority.issue(patient.certificates / "auth", "tiermesh-billing")
    try:
        status, found = await patient.examine()
    finally:
        patient.authority.issue(patient.certificates / "auth", "tiermesh-auth")
        await eventually(patient.recovered, 30)
    assert status == 1
    assert "it needs a certificate for tiermesh-auth" in found["certificate", "auth"]["fix"]


async def test_a_certificate_about_to_expire_is_a_warning(patient: Patient) -> None:
    patient.authority.issue(patient.certificates / "auth", "tiermesh-auth", age=EXPIRING)
    try:
        status, found = await patient.examine()
    finally:
        patient.authority.issue(patient.certificates / "auth", "tiermesh-auth")
        await eventually(patient.recovered, 30)
    assert status == 0
    assert found["certificate", "auth"]["verdict"] == "warning"
    assert "renew it" in found["certificate", "auth"]["fix"]


async def test_other_clocks_and_missing_keys_are_noticed(patient: Patient) -> None:
    findings = await look_at_edge(patient.mesh.base_url, patient.mesh.unlimited_key, lambda: time.time() + 60)
    assert [finding.verdict for finding in findings] == [Verdict.OK, Verdict.FAILED]
    assert "differs from this machine by 6" in findings[1].detail
    findings = await look_at_edge(patient.mesh.base_url, "", time.time)
    assert [finding.verdict for finding in findings] == [Verdict.WARNING, Verdict.OK]


async def test_a_key_that_does_not_work_is_a_failure(patient: Patient) -> None:
    findings = await look_at_edge(patient.mesh.base_url, "sk-wrong", time.time)
    assert findings[0].verdict is Verdict.FAILED


async def test_plain_text_to_a_mesh_with_tls_is_named(patient: Patient) -> None:
    addresses = patient.mesh.addresses
    options = [word for name in ("auth", "billing", "router") for word in (f"--{name}-address", addresses[name])]
    done = await run_tiermesh("doctor", "--json", *options, "--state-dir", str(patient.mesh.state_dir / "none"))
    assert done.returncode == 1
    verdicts: list[dict[str, Any]] = json.loads(done.stdout)["findings"]
    assert {each["verdict"] for each in verdicts if each["check"] == "health"} == {"failed"}
    # What nobody said where it is was not looked at.
    assert {each["verdict"] for each in verdicts if each["check"] in {"edge", "etcd"}} == {"warning"}


async def test_without_a_mesh_it_is_said_how_to_find_one(tmp_path: Path) -> None:
    done = await run_tiermesh("doctor", "--state-dir", str(tmp_path))
    assert done.returncode == 1
    assert "No mesh runs in" in done.stderr
