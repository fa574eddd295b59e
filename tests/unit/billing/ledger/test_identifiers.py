from __future__ import annotations

import pytest

from services.billing.ledger.identifiers import MAX_LENGTH, check_id, check_text
from services.common.errors import Code, MeshError


@pytest.mark.parametrize("value", ["r", "req_1", "🦙" * MAX_LENGTH, "has system: inside"])
def test_ids_that_can_be_kept(value: str) -> None:
    assert check_id("request_id", value) == value


@pytest.mark.parametrize("value", ["", "system:revenue", "a\0b", "x" * (MAX_LENGTH + 1)])
def test_ids_that_cannot(value: str) -> None:
    with pytest.raises(MeshError) as refused:
        check_id("request_id", value)
    assert (refused.value.code, refused.value.param) == (Code.INVALID_REQUEST, "request_id")


def test_a_text_may_be_empty() -> None:
    assert check_text("note", "") == ""
