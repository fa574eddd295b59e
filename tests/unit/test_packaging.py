"""pyproject.toml and the lock files say the same, and the lock files hold on any index."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.support.locks import FOLDER, ROOT, pins

PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())
EXTRAS: dict[str, list[str]] = PROJECT["project"]["optional-dependencies"]
GROUPS: dict[str, list[Any]] = PROJECT["dependency-groups"]
LOCKS = sorted(path.name for path in FOLDER.glob("*.lock"))
CONTROL = ("passkeys", "payments", "receipts", "tracing")
CPU = ("llamacpp", "embedding", "speech", "transcription", "tracing")
GPU = ("exllamav2", "image", "tracing")
# Which extras and groups are in a lock file that has the dependencies of the control plane too.
CONTENTS: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "control.lock": (CONTROL, ()),
    "dev.lock": (("certs", "local", "hub", "passkeys", "payments", "receipts", *CPU), ("dev",)),
    "run.lock": (("local", "llamacpp"), ("build",)),
    "runner-cpu.lock": (CPU, ()),
    "runner-exllamav2.lock": (GPU, ("torch", "flash-attn-build")),
}
# Those without, and the group that each is made of.
ALONE = (
    "aider", "build", "deploy", "exllamav2", "extra-models", "flash-attn", "frameworks", "hermes", "models",
    "open-webui", "torch",
)  # fmt: skip


@pytest.mark.parametrize("lock", LOCKS)
def test_every_file_is_pinned_by_its_hash_and_no_index_is_named(lock: str) -> None:
    text = (FOLDER / lock).read_text()
    assert "://" not in text
    assert not re.search(r"^\s*-(?!-hash=)", text, re.MULTILINE)
    entries = re.split(r"^(?=[a-z0-9])", text, flags=re.MULTILINE)[1:]
    assert entries
    # Which build of torch an index has is left to it: the one for CPUs or that for CUDA.
    assert all("--hash=sha256:" in entry for entry in entries) == (lock != "torch.lock")


@pytest.mark.parametrize("lock", sorted(CONTENTS))
def test_a_lock_file_allows_what_is_declared(lock: str) -> None:
    extras, groups = CONTENTS[lock]
    declared = [*PROJECT["project"]["dependencies"], *(line for name in extras for line in EXTRAS[name])]
    check([*map(Requirement, declared), *(wanted for name in groups for wanted in members(name))], lock)


@pytest.mark.parametrize("group", ALONE)
def test_a_lock_file_of_a_group_allows_what_is_declared(group: str) -> None:
    check(members(group), f"{group}.lock")


def test_the_environment_of_torch_has_what_its_tests_declare() -> None:
    """All but torch, which comes by itself."""
    declared = [Requirement(line) for name in ("exllamav2", "image", "llamacpp", "local") for line in EXTRAS[name]]
    check([wanted for wanted in [*declared, *members("test-torch")] if wanted.name != "torch"], "test-torch.lock")
    assert not any(pin.name == "torch" or pin.name.startswith("nvidia-") for pin in applying("test-torch.lock"))


def test_every_lock_file_is_checked() -> None:
    assert sorted([*CONTENTS, *(f"{group}.lock" for group in ALONE), "test-torch.lock"]) == LOCKS


def test_environments_that_share_code_agree() -> None:
    agreed: dict[str, set[str]] = {}
    for lock in (*CONTENTS, "build.lock", "test-torch.lock"):
        for pin in applying(lock):
            agreed.setdefault(pin.name, set()).add(str(pin.specifier))
    assert {name: versions for name, versions in agreed.items() if len(versions) > 1} == {}


def test_the_control_plane_has_no_engine_no_build_tool_and_no_registry() -> None:
    pinned = {pin.name for pin in pins("control.lock")}
    engines = {Requirement(line).name for name in EXTRAS if name not in CONTROL for line in EXTRAS[name]}
    # rich needs pygments too, and fido2 needs cryptography.
    assert not pinned & ((engines | {wanted.name for wanted in members("build")}) - {"cryptography", "pygments"})
    assert {"aiohttp", "asyncpg", "fido2", "redis"} <= pinned


def test_an_installation_without_isolation_has_what_the_build_needs() -> None:
    assert GROUPS["build"] == PROJECT["build-system"]["requires"]


def test_nothing_refers_to_an_index_that_has_no_tiermesh() -> None:
    files = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").rglob("*.md"), *sources()]
    assert [path for path in files if re.search(r"pip install \S*tiermesh\b", path.read_text())] == []


def sources() -> list[Path]:
    return list((ROOT / "services").rglob("*.py"))


def members(group: str) -> list[Requirement]:
    found: list[Requirement] = []
    for member in GROUPS[group]:
        found += members(member["include-group"]) if isinstance(member, dict) else [Requirement(member)]
    return found


def applying(lock: str) -> list[Requirement]:
    """The pins of a lock file for this Python."""
    return [pin for pin in pins(lock) if pin.marker is None or pin.marker.evaluate()]


def check(wanted: list[Requirement], lock: str) -> None:
    """Fails unless the lock file pins each package to a version that is wanted."""
    pinned = {canonicalize_name(pin.name): pin for pin in applying(lock)}
    for requirement in wanted:
        if requirement.name != "tiermesh" and (requirement.marker is None or requirement.marker.evaluate()):
            [version] = [one.version for one in pinned[canonicalize_name(requirement.name)].specifier]
            assert requirement.specifier.contains(version), f"{lock}: {version} is no {requirement}: run `make lock`"
