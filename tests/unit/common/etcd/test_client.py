from __future__ import annotations

import pytest

from services.common.etcd.client import prefix_range


@pytest.mark.parametrize(
    ("prefix", "expected"),
    [
        (b"/tiermesh/", (b"/tiermesh/", b"/tiermesh0")),
        (b"a\xff\xff", (b"a\xff\xff", b"b")),
        (b"\xff", (b"\xff", b"\0")),
        (b"", (b"\0", b"\0")),
    ],
)
def test_a_range_holds_exactly_the_keys_with_the_prefix(prefix: bytes, expected: tuple[bytes, bytes]) -> None:
    assert prefix_range(prefix) == expected
