from __future__ import annotations

import json

import msgspec
import pytest

from services.common.registry import RUNNERS_PREFIX, RunnerRecord

RECORD = RunnerRecord(
    id="runner-1",
    address="10.0.0.1:7000",
    tier="max",
    models=["tiermesh-max"],
    capabilities=["tools"],
    context=32768,
    slots=8,
    engine="exllamav2",
    version="0.1.0",
)


def test_a_record_survives_etcd() -> None:
    assert RunnerRecord.from_json(RECORD.to_json()) == RECORD


def test_operators_can_read_the_value() -> None:
    value = json.loads(RECORD.to_json())
    assert (value["id"], value["state"], value["slots"]) == ("runner-1", "ready", 8)


def test_the_key_is_under_the_prefix_that_routers_watch() -> None:
    assert RECORD.key == b"/tiermesh/runners/runner-1"
    assert RECORD.key.startswith(RUNNERS_PREFIX.encode())


def test_old_routers_understand_newer_runners() -> None:
    newer = json.loads(RECORD.to_json()) | {"gpu": "H100"}
    assert RunnerRecord.from_json(json.dumps(newer).encode()) == RECORD


def test_runners_without_state_and_capabilities_are_ready_and_plain() -> None:
    value = json.loads(RECORD.to_json())
    del value["state"], value["capabilities"]
    record = RunnerRecord.from_json(json.dumps(value).encode())
    assert (record.state, record.capabilities) == ("ready", [])


@pytest.mark.parametrize("value", [b"", b"{", b"[]", b"{}", RECORD.to_json().replace(b'"slots":8', b'"slots":"8"')])
def test_values_that_are_no_record_are_refused(value: bytes) -> None:
    with pytest.raises((msgspec.ValidationError, msgspec.DecodeError)):
        RunnerRecord.from_json(value)
