"""The gRPC face of deposits, on a real process: what it returns, and what it refuses."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from services.common.errors import Code, MeshError
from services.common.rpc.channels import channel_opener
from services.common.rpc.interceptors import call_unary
from services.common.settings import TlsSettings
from tests.integration.billing.billing_client import BillingClient
from tests.integration.billing.deposits_for_tests import ACCOUNTS, CHAIN, SENDER, TOKEN, address_of, hash_of
from tests.support.forked_service import ForkedServiceProcess
from tests.support.process import ServiceProcess
from tiermesh.billing.v1 import deposits_pb2, deposits_pb2_grpc

A = ACCOUNTS[0]
CURSOR = deposits_pb2.DepositCursor(chain_id=CHAIN, token=TOKEN, watcher="first")


@pytest.fixture
async def process(sqlite_database_url: str, tmp_path: Path) -> AsyncIterator[ServiceProcess]:
    async with ForkedServiceProcess("billing", tmp_path, {"database_url": sqlite_database_url}) as process:
        yield process


@pytest.fixture
async def stub(process: ServiceProcess) -> AsyncIterator[deposits_pb2_grpc.DepositServiceAsyncStub]:
    async with channel_opener(TlsSettings())(process.address) as channel:
        yield deposits_pb2_grpc.DepositServiceStub(channel)


def a_deposit(**changes: Any) -> deposits_pb2.Deposit:
    usual: dict[str, Any] = {
        "tx_hash": hash_of(7),
        "log_index": 1,
        "block_number": 2,
        "block_hash": hash_of(2),
        "atomic": 25_000,
    }
    return deposits_pb2.Deposit(**{**usual, "sender": SENDER, "address": address_of(A), **changes})


def a_range(*deposits: deposits_pb2.Deposit, **changes: Any) -> deposits_pb2.RecordDepositsRequest:
    usual: dict[str, Any] = {
        "cursor": CURSOR,
        "from_block": 1,
        "to_block": 2,
        "parent_hash": hash_of(0),
        "end_hash": hash_of(2),
    }
    return deposits_pb2.RecordDepositsRequest(**{**usual, **changes}, deposits=deposits)


def an_address(**changes: Any) -> deposits_pb2.AddDepositAddressRequest:
    usual: dict[str, Any] = {
        "chain_id": CHAIN,
        "address": address_of(A),
        "account_id": A,
        "xpub_id": "xpub",
        "address_index": 0,
    }
    return deposits_pb2.AddDepositAddressRequest(address=deposits_pb2.DepositAddress(**{**usual, **changes}))


async def test_one_accounts_deposits_are_read_only_by_its_name(stub: deposits_pb2_grpc.DepositServiceAsyncStub) -> None:
    await call_unary(stub.AddDepositAddress(an_address()))
    await call_unary(stub.RecordDeposits(a_range(a_deposit())))
    asked = deposits_pb2.ListAccountDepositsRequest(account_id=A)
    [mine] = (await call_unary(stub.ListAccountDeposits(asked))).deposits
    assert (mine.account_id, mine.deposit.atomic, mine.credits) == (A, 25_000, 2)
    asked.before = mine.deposit_id
    assert not (await call_unary(stub.ListAccountDeposits(asked))).deposits
    other = deposits_pb2.ListAccountDepositsRequest(account_id=ACCOUNTS[1])
    assert not (await call_unary(stub.ListAccountDeposits(other))).deposits
    with pytest.raises(MeshError) as caught:
        await call_unary(stub.ListAccountDeposits(deposits_pb2.ListAccountDepositsRequest()))
    assert caught.value.code is Code.INVALID_REQUEST


async def test_from_an_address_to_credits(
    process: ServiceProcess, stub: deposits_pb2_grpc.DepositServiceAsyncStub
) -> None:
    asked = deposits_pb2.GetDepositAddressRequest(chain_id=CHAIN, account_id=A, xpub_id="xpub")
    nothing = await call_unary(stub.GetDepositAddress(asked))
    assert (nothing.HasField("address"), nothing.next_index) == (False, 0)
    kept = (await call_unary(stub.AddDepositAddress(an_address()))).address
    assert (kept.address, kept.position, kept.at_ms > 0) == (address_of(A), 1, True)
    found = await call_unary(stub.GetDepositAddress(asked))
    assert (found.address, found.next_index) == (kept, 1)
    of_chain = deposits_pb2.ListDepositAddressesRequest(chain_id=CHAIN)
    assert list((await call_unary(stub.ListDepositAddresses(of_chain))).addresses) == [kept]

    cursor = deposits_pb2.GetDepositCursorRequest(cursor=CURSOR)
    assert await call_unary(stub.GetDepositCursor(cursor)) == deposits_pb2.GetDepositCursorResponse()
    # Upper case is the same transaction and the same address.
    upper = a_deposit(tx_hash="0x" + hash_of(7)[2:].upper(), address="0x" + address_of(A)[2:].upper())
    assert (await call_unary(stub.RecordDeposits(a_range(a_deposit(), upper)))).credits == 2
    place = await call_unary(stub.GetDepositCursor(cursor))
    assert (place.next_block, place.last_hash) == (3, hash_of(2))
    listed = await call_unary(stub.ListDeposits(deposits_pb2.ListDepositsRequest(account_id=A)))
    (one,) = listed.deposits
    assert (one.deposit, one.account_id, one.credits, one.token) == (a_deposit(), A, 2, TOKEN)
    assert not listed.has_more
    async with BillingClient(process.address) as client:
        assert await client.balance(A) == (2, 0)
        assert not (await client.audit()).violations
    assert 'tiermesh_billing_credits_total{movement="deposit"} 2.0' in await process.metrics()


async def test_a_part_of_a_block_is_recorded_and_leaves_the_cursor(
    stub: deposits_pb2_grpc.DepositServiceAsyncStub,
) -> None:
    await call_unary(stub.AddDepositAddress(an_address()))
    cursor = deposits_pb2.GetDepositCursorRequest(cursor=CURSOR)
    before = {"from_block": 2, "parent_hash": hash_of(1)}
    part = a_range(a_deposit(), a_deposit(log_index=2), to_block=1, end_hash=hash_of(1), **before)
    for credits_given in (5, 0):
        assert (await call_unary(stub.RecordDeposits(part))).credits == credits_given
        place = await call_unary(stub.GetDepositCursor(cursor))
        assert (place.next_block, place.last_hash) == (2, hash_of(1))
    last = a_range(a_deposit(log_index=2), a_deposit(log_index=3), **before)
    assert (await call_unary(stub.RecordDeposits(last))).credits == 2
    # What comes later has no effect, as of any range that was read.
    with pytest.raises(MeshError) as caught:
        await call_unary(stub.RecordDeposits(part))
    assert (caught.value.code, caught.value.param) == (Code.CONFLICT, "from_block")


async def test_deposits_are_listed_page_by_page(stub: deposits_pb2_grpc.DepositServiceAsyncStub) -> None:
    await call_unary(stub.AddDepositAddress(an_address()))
    await call_unary(stub.RecordDeposits(a_range(*(a_deposit(log_index=log) for log in range(5)))))
    seen: list[int] = []
    request = deposits_pb2.ListDepositsRequest(page_size=2)
    while True:
        page = await call_unary(stub.ListDeposits(request))
        seen += [each.deposit.log_index for each in page.deposits]
        if not page.has_more:
            break
        request.before = page.deposits[-1].deposit_id
    assert seen == [4, 3, 2, 1, 0]


REFUSED = [
    (a_range(cursor=deposits_pb2.DepositCursor(chain_id=0, token=TOKEN, watcher="first")), "chain_id"),
    (a_range(cursor=deposits_pb2.DepositCursor(chain_id=1, token="USDC", watcher="first")), "cursor.token"),
    (a_range(cursor=deposits_pb2.DepositCursor(chain_id=1, token=TOKEN, watcher="")), "cursor.watcher"),
    (a_range(from_block=-1), "from_block"),
    (a_range(to_block=0), "to_block"),
    (a_range(from_block=2, to_block=0, end_hash=hash_of(0)), "to_block"),
    (a_range(a_deposit(), to_block=0, end_hash=hash_of(0)), "deposits.block_number"),
    (a_range(parent_hash="0x12"), "parent_hash"),
    (a_range(end_hash=hash_of(2) + "0"), "end_hash"),
    (a_range(a_deposit(tx_hash="")), "deposits.tx_hash"),
    (a_range(a_deposit(tx_hash=hash_of(1)[:-1] + "g")), "deposits.tx_hash"),
    (a_range(a_deposit(log_index=-1)), "deposits.log_index"),
    (a_range(a_deposit(block_number=3)), "deposits.block_number"),
    (a_range(a_deposit(block_number=0)), "deposits.block_number"),
    (a_range(a_deposit(block_hash="0x")), "deposits.block_hash"),
    (a_range(a_deposit(sender="somebody")), "deposits.sender"),
    (a_range(a_deposit(address=address_of(A)[:-1])), "deposits.address"),
    (a_range(a_deposit(atomic=0)), "deposits.atomic"),
    (a_range(a_deposit(atomic=-1)), "deposits.atomic"),
    (a_range(a_deposit(atomic=10**18 + 1)), "deposits.atomic"),
    (a_range(*[a_deposit()] * 20_001), "deposits"),
    (an_address(chain_id=-1), "chain_id"),
    (an_address(address="0x"), "address"),
    (an_address(account_id="system:deposits"), "account_id"),
    (an_address(xpub_id=""), "xpub_id"),
    (an_address(address_index=2**31), "address_index"),
    (deposits_pb2.ListDepositsRequest(page_size=1_001), "page_size"),
    (deposits_pb2.ListDepositsRequest(before=-1), "before"),
    (deposits_pb2.ListDepositAddressesRequest(), "chain_id"),
    (deposits_pb2.ListDepositAddressesRequest(chain_id=1, page_size=10_001), "page_size"),
]


async def test_what_no_caller_should_send_is_refused(stub: deposits_pb2_grpc.DepositServiceAsyncStub) -> None:
    for request, param in REFUSED:
        method = getattr(stub, type(request).__name__.removesuffix("Request"))
        with pytest.raises(MeshError) as caught:
            await call_unary(method(request))
        assert (caught.value.code, caught.value.param) == (Code.INVALID_REQUEST, param), request
    assert not (await call_unary(stub.ListDeposits(deposits_pb2.ListDepositsRequest()))).deposits
