from __future__ import annotations

import pytest

from services.cli.errors import CliError
from services.cli.local.engines import LocalRunner, added_by_run_all, available_cores, choose_runners
from services.common.catalog import Catalog, Model, load_catalog
from services.common.settings import DEFAULT_CATALOG
from tests.support.locks import pins

CATALOG = Catalog(
    [
        Model(id="small", kind="chat", tier="pro", price=1, context=4096),
        Model(id="large", kind="chat", tier="max", price=2, context=8192),
        Model(id="larger", kind="chat", tier="max", price=3, context=16384),
        Model(id="painter", kind="image", tier="image", price=4),
    ]
)


def choose(*tiers: str, catalog: Catalog = CATALOG, installed: bool = False) -> tuple[LocalRunner, ...]:
    return choose_runners(catalog, engine="simulated", slots=4, tiers=tiers, installed=lambda package: installed)


def test_every_tier_that_can_run_has_a_runner() -> None:
    assert [(runner.name, runner.engine) for runner in choose()] == [
        ("runner-pro", "simulated"),
        ("runner-max", "simulated"),
    ]
    assert [runner.engine for runner in choose(installed=True)] == ["simulated", "simulated", "diffusers"]


def test_further_tiers_hold_fewer_answers_and_their_longest_conversation() -> None:
    assert [(runner.slots, runner.context) for runner in choose(installed=True)] == [(4, 4096), (2, 16384), (2, 0)]


@pytest.mark.parametrize(
    ("engine", "cores", "tiers", "threads"),
    [
        ("llamacpp", 1, (), [1, 1]),
        ("llamacpp", 2, (), [1, 1]),
        ("llamacpp", 2, ("max",), [2]),
        ("llamacpp", 8, (), [4, 4]),
        ("llamacpp", 64, (), [8, 8]),
        ("simulated", 8, (), [1, 1]),
    ],
)
def test_runners_of_llama_cpp_share_the_cores(
    engine: str, cores: int, tiers: tuple[str, ...], threads: list[int]
) -> None:
    runners = choose_runners(CATALOG, engine=engine, slots=4, tiers=tiers, cores=cores, installed=lambda package: False)
    assert [runner.threads for runner in runners] == threads


def test_this_machine_has_a_core() -> None:
    assert available_cores() >= 1


def test_tiers_can_be_chosen() -> None:
    assert [runner.tier for runner in choose("max", "max")] == ["max"]


@pytest.mark.parametrize(
    ("tier", "complaint"),
    [
        ("pr", r"no tier 'pr'\. Choose one of: pro, max, image"),
        ("image", r"torch, transformers: .*pip install --editable '\.\[image\]'"),
    ],
)
def test_a_tier_that_cannot_run_is_refused_with_advice(tier: str, complaint: str) -> None:
    with pytest.raises(CliError, match=complaint):
        choose(tier)


def test_a_tier_of_two_kinds_is_refused() -> None:
    mixed = [*CATALOG.models, Model(id="odd", kind="speech", tier="pro", price=1)]
    with pytest.raises(CliError, match="mixes kinds"):
        choose(catalog=Catalog(mixed))


def test_a_machine_that_can_serve_nothing_says_so() -> None:
    with pytest.raises(CliError, match="no tier"):
        choose(catalog=Catalog([CATALOG.models[-1]]))


def test_run_all_adds_what_is_sold_and_not_installed() -> None:
    heard = Model(id="listener", kind="transcription", tier="heard", price=1)
    spoken = Model(id="speaker", kind="speech", tier="spoken", price=1)
    catalog = Catalog([*CATALOG.models, heard, spoken])
    assert added_by_run_all(catalog, lambda package: False) == ("speech", "transcription")
    assert added_by_run_all(catalog, lambda package: package != "faster_whisper") == ("transcription",)
    assert added_by_run_all(catalog, lambda package: True) == ()
    assert added_by_run_all(CATALOG, lambda package: False) == ()


def test_run_all_installs_what_is_looked_for() -> None:
    locks = ("runner-cpu.lock", "extra-models.lock")
    pinned = {pin.name.replace("-", "_") for lock in locks for pin in pins(lock)}
    assert added_by_run_all(load_catalog(DEFAULT_CATALOG), pinned.__contains__) == ()
