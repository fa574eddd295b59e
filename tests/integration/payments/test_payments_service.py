"""The whole service as a process: it starts, gives addresses, credits deposits, and survives its own death."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import grpc
import pytest

from services.common.errors import MeshError
from services.common.rpc.channels import channel_opener
from services.common.rpc.interceptors import call_unary
from services.common.settings import TlsSettings
from tests.integration.billing.billing_client import BillingClient
from tests.support.chain import TOKEN_NAME, XPUB, Chain, TokenContract
from tests.support.process import ServiceProcess
from tests.support.waiting import eventually
from tiermesh.payments.v1 import payments_pb2, payments_pb2_grpc

# What no log, table or metric may have.
SECRET = "canary-of-the-node"


def settings(chain: Chain, billing: ServiceProcess, token: str, **changes: str) -> dict[str, str]:
    usual = {
        "rpc_url": f"{chain.url}/?key={SECRET}",
        "billing_addresses": billing.address,
        "chain_id": str(chain.chain_id),
        "token": token,
        "token_name": TOKEN_NAME,
        "xpub": XPUB,
        "poll_seconds": "0.05",
        "second_poll_seconds": "0.05",
        "second_delay_seconds": "0",
    }
    return {**usual, **changes}


async def address_of(process: ServiceProcess, account: str) -> payments_pb2.GetDepositAddressResponse:
    async with channel_opener(TlsSettings())(process.address) as channel:
        stub = payments_pb2_grpc.PaymentsServiceStub(channel)
        return await call_unary(stub.GetDepositAddress(payments_pb2.GetDepositAddressRequest(account_id=account)))


async def test_from_an_address_to_credits_whoever_dies_on_the_way(
    chain: Chain, own_billing: ServiceProcess, tmp_path: Path
) -> None:
    billing = own_billing
    token = TokenContract(chain)
    chain.mine(2)
    process = ServiceProcess("payments", tmp_path, settings(chain, billing, token.address))
    async with process, BillingClient(billing.address) as client:
        shown = await address_of(process, "ada")
        assert (shown.chain_id, shown.token, shown.token_name) == (chain.chain_id, token.address, TOKEN_NAME)
        # What every wallet shows for this mnemonic.
        assert shown.address == "0xf39Fd6e51aad88F6F4ce6aB8827279cffFb92266"
        assert await address_of(process, "ada") == shown
        assert (await address_of(process, "grace")).address != shown.address

        sent = 0
        for number in range(2):
            token.mint(shown.address, 10_000)
            await process.kill()
            token.mint(shown.address, 20_000)
            chain.mine(3)
            sent += 3
            await process.start()
            if number == 1:
                await billing.kill()
                await billing.start()

            async def credited(expected: int = sent) -> bool:
                try:
                    return await client.balance("ada") == (expected, 0)
                except MeshError:
                    return False

            await eventually(credited)
        assert not (await client.audit()).violations
        metrics = await process.metrics()
        assert 'tiermesh_payments_stopped{watcher="first"} 0.0' in metrics
        assert 'tiermesh_payments_lag_blocks{watcher="second"}' in metrics
        told = process.log() + billing.log() + metrics
    with sqlite3.connect(tmp_path / "billing.db") as database:
        told += "\n".join(database.iterdump())
    for canary in (SECRET, XPUB):
        assert canary not in told


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"chain_id": "8453"}, "CHAIN_ID is 8453, but the node serves the chain 31337"),
        ({"xpub": "xprv9s21ZrQH143K3"}, "XPUB is an extended private key"),
    ],
)
async def test_wrong_settings_end_the_start(
    world_token: str, chain: Chain, billing: ServiceProcess, tmp_path: Path, changes: dict[str, str], reason: str
) -> None:
    process = ServiceProcess("payments", tmp_path, settings(chain, billing, world_token, **changes))
    process.spawn()
    await eventually(lambda: not process.running, 30)
    assert reason in process.log()
    for secret in (SECRET, XPUB, "xprv9s21ZrQH143K3"):
        assert secret not in process.log()


async def test_what_is_found_and_on_its_way_is_of_one_account(
    chain: Chain, own_billing: ServiceProcess, tmp_path: Path
) -> None:
    token = TokenContract(chain)
    chain.mine(2)
    process = ServiceProcess("payments", tmp_path, settings(chain, own_billing, token.address, chain_name="Base"))
    async with process, channel_opener(TlsSettings())(process.address) as channel:
        stub = payments_pb2_grpc.PaymentsServiceStub(channel)

        async def found(account: str) -> payments_pb2.FindDepositAddressResponse:
            return await call_unary(stub.FindDepositAddress(payments_pb2.FindDepositAddressRequest(account_id=account)))

        async def pending(account: str) -> payments_pb2.ListPendingDepositsResponse:
            asked = payments_pb2.ListPendingDepositsRequest(account_id=account)
            return await call_unary(stub.ListPendingDeposits(asked))

        nothing = await found("ada")
        assert (nothing.address, nothing.chain_name, nothing.token) == ("", "Base", token.address)
        assert await pending("ada") == payments_pb2.ListPendingDepositsResponse()
        # Looking for one creates none.
        assert (await found("ada")).address == ""
        address = (await address_of(process, "ada")).address
        assert (await found("ada")).address == address
        await address_of(process, "grace")
        tx = token.mint(address, 20_000)
        [transfer] = (await pending("ada")).deposits
        assert (transfer.tx_hash, transfer.atomic, transfer.final) == (tx, 20_000, False)
        assert not (await pending("grace")).deposits


async def test_no_address_is_given_while_the_chain_is_away(
    billing: ServiceProcess, chain: Chain, tmp_path: Path
) -> None:
    away = settings(chain, billing, "0x" + 40 * "1", rpc_url="http://127.0.0.1:1/" + SECRET)
    process = ServiceProcess("payments", tmp_path, away)
    try:
        await process.start(ready=False)
        assert not await process.ready()
        with pytest.raises((MeshError, grpc.aio.AioRpcError)):
            await address_of(process, "ada")
        await eventually(lambda: "waiting_for_node" in process.log())
        assert SECRET not in process.log()
    finally:
        await process.kill()


@pytest.fixture(scope="module")
def world_token(chain: Chain) -> str:
    return TokenContract(chain).address
