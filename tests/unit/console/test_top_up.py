"""What the page for topping up works out by itself."""

from __future__ import annotations

import re

import pytest
import segno

from services.common.token_amount import token_text
from services.console.top_up.deposits import not_credited
from services.console.top_up.pages import duration
from services.console.top_up.qr_code import qr_code
from tiermesh.billing.v1 import deposits_pb2
from tiermesh.payments.v1 import payments_pb2

ADDRESS = "0xf39Fd6e51aad88F6F4ce6aB8827279cffFb92266"


def test_the_path_has_the_dark_modules_and_no_others() -> None:
    code = qr_code(ADDRESS)
    assert code is not None
    dark = set()
    for left, top, width in re.findall(r"M(\d+) (\d+)h(\d+)v1h-\d+z", code.path):
        dark |= {(int(left) + column, int(top)) for column in range(int(width))}
    matrix = segno.make(ADDRESS, error="m", micro=False).matrix
    expected = {(x + 4, y + 4) for y, row in enumerate(matrix) for x, module in enumerate(row) if module}
    assert (dark, code.size) == (expected, len(matrix) + 8)


def test_without_the_library_there_is_no_code() -> None:
    assert qr_code(ADDRESS, installed=False) is None


@pytest.mark.parametrize(
    ("atomic", "text"),
    [(1, "0.000001"), (10_000, "0.01"), (7_000_000, "7.00"), (12_345_678, "12.345678"), (10**15, "1,000,000,000.00")],
)
def test_amounts_are_not_rounded(atomic: int, text: str) -> None:
    assert token_text(atomic) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "less than a minute"), (60, "about a minute"), (1_190, "about 20 minutes"), (7_000, "about 2 hours")],
)
def test_how_long_finality_takes_is_said_as_people_say_it(seconds: int, text: str) -> None:
    assert duration(seconds) == text


def test_what_is_credited_is_not_on_its_way_any_more() -> None:
    def transfer(log_index: int) -> payments_pb2.PendingDeposit:
        return payments_pb2.PendingDeposit(tx_hash="0xa", log_index=log_index, atomic=1)

    pending = payments_pb2.ListPendingDepositsResponse(deposits=[transfer(1), transfer(2)])
    credited = deposits_pb2.RecordedDeposit(deposit=deposits_pb2.Deposit(tx_hash="0xa", log_index=2))
    assert not_credited(pending, [credited]) == [transfer(1)]
