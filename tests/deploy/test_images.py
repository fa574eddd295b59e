"""What the Dockerfiles copy, leave out and start exists; hadolint and a builder see to the rest."""

from __future__ import annotations

import json
import re
from importlib.util import find_spec
from pathlib import Path

import msgspec
import pytest

from services.auth.settings import AuthSettings
from services.billing.settings import BillingSettings
from services.common.settings import ServiceSettings
from services.console.operators.settings import OperatorConsoleSettings
from services.console.settings import ConsoleSettings
from services.edge.settings import EdgeSettings
from services.payments.settings import PaymentsSettings
from services.router.settings import RouterSettings
from services.runner.settings import RunnerSettings
from tests.deploy.kubectl import ROOT

# What the image of the control plane can start.
CONTROL: dict[str, type[ServiceSettings]] = {
    "EDGE": EdgeSettings,
    "CONSOLE": ConsoleSettings,
    "OPERATOR_CONSOLE": OperatorConsoleSettings,
    "AUTH": AuthSettings,
    "BILLING": BillingSettings,
    "ROUTER": RouterSettings,
    "PAYMENTS": PaymentsSettings,
}

DOCKERFILES = sorted((ROOT / "deploy" / "images").glob("*.Dockerfile"))

pytestmark = pytest.mark.parametrize("path", DOCKERFILES, ids=lambda path: path.name.removesuffix(".Dockerfile"))


def test_what_is_copied_exists_and_goes_to_the_builder(path: Path) -> None:
    sent = re.findall(r"^!(\S+)$", (ROOT / ".dockerignore").read_text(), re.MULTILINE)
    copied = re.findall(r"^COPY (?!--from)(.+) \S+$", path.read_text(), re.MULTILINE)
    sources = [source for line in copied for source in line.split()]
    assert "services" in sources
    for source in sources:
        assert (ROOT / source).exists()
        assert source in sent


def test_a_base_without_profile_guided_optimisation_is_refused(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if path.name == "runner-exllamav2.Dockerfile":
        # Its Python is Ubuntu's, whose build does not record what it does.
        assert re.search(r"^ARG RUN_IMAGE=docker.io/nvidia/cuda:\S+-ubuntu24.04$", path.read_text(), re.MULTILINE)
        return
    [check] = re.findall(r'^RUN python -c "(import sys, sysconfig; .+)"$', path.read_text(), re.MULTILINE)
    monkeypatch.setattr("sysconfig.get_config_var", {"CONFIG_ARGS": "'--enable-shared' '--enable-optimizations'"}.get)
    exec(check)
    monkeypatch.setattr("sysconfig.get_config_var", {"CONFIG_ARGS": "'--enable-shared'"}.get)
    with pytest.raises(SystemExit, match="PYTHON_IMAGE"):
        exec(check)


def test_the_standard_library_is_compiled_where_the_base_has_no_bytecode(path: Path) -> None:
    # The packages of Debian and Ubuntu compile it when they are installed.
    official = "docker.io/library/python:" in path.read_text()
    run = path.read_text().rpartition("\nFROM ")[2]
    assert bool(re.search(r"^RUN python -m compileall ", run, re.MULTILINE)) == official


def test_what_is_started_is_a_module(path: Path) -> None:
    text = path.read_text()
    [entry], [command] = (re.findall(rf"^{word} (\[.*\])$", text, re.MULTILINE) for word in ("ENTRYPOINT", "CMD"))
    assert json.loads(entry) == ["python", "-m"]
    [module] = json.loads(command)
    assert find_spec(f"{module}.__main__") is not None


def test_what_is_installed_is_pinned_by_hashes(path: Path) -> None:
    commands = re.split(r"&&|\n", path.read_text().replace("\\\n", ""))
    installations = [
        words for command in commands for words in re.findall(r"pip (?:--python \S+ )?install (.+)", command)
    ]
    locked = [words for words in installations if words.strip() != "--no-deps /wheels/*.whl"]
    assert len(locked) == len(installations) - 1 >= 2
    for words in locked:
        assert words.startswith("--require-hashes ")
        locks = re.findall(r"--requirement (\S+)", words)
        assert locks
        assert all((ROOT / lock).exists() for lock in locks)


def test_what_an_image_starts_can_be_reached_from_outside_its_container(path: Path) -> None:
    text = path.read_text()
    can_start = CONTROL if path.name == "control.Dockerfile" else {"RUNNER": RunnerSettings}
    defaults = {service: _port(kind) for service, kind in can_start.items()}
    variables = dict(re.findall(r"(TIERMESH_\w+_LISTEN)=(\S+)", text))
    listens = {f"TIERMESH_{service}_LISTEN": f"0.0.0.0:{port}" for service, port in defaults.items()}
    admin = {f"TIERMESH_{service}_ADMIN_LISTEN": "0.0.0.0:9090" for service in can_start}
    assert variables == listens | admin
    [exposed] = re.findall(r"^EXPOSE (.+)$", text, re.MULTILINE)
    assert set(exposed.split()) == {*defaults.values(), "9090"}


def _port(kind: type[ServiceSettings]) -> str:
    [default] = [field.default for field in msgspec.structs.fields(kind) if field.name == "listen"]
    return str(default).rpartition(":")[2]
