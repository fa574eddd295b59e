"""`tiermesh deposits`, against a real mesh whose billing has been told of deposits."""

from __future__ import annotations

from services.cli.state import certificate_files
from services.common.rpc.channels import channel_opener
from services.common.settings import TlsSettings
from tests.integration.billing.deposits_for_tests import CHAIN, SENDER, TOKEN, address_of, hash_of
from tests.integration.cli.test_management import error_of, text_of
from tests.support.mesh import LocalMesh
from tiermesh.billing.v1 import deposits_pb2, deposits_pb2_grpc


def operator_files(mesh: LocalMesh) -> TlsSettings:
    """The operator's certificate, if the mesh has any."""
    directory = mesh.state_dir / "tls" / "operator"
    return certificate_files(directory) if directory.exists() else TlsSettings()


async def deposit(mesh: LocalMesh, account: str, *amounts: int) -> None:
    """Gives an account an address, and billing a block with deposits to it, which a watcher of its own has read."""
    address = deposits_pb2.DepositAddress(
        chain_id=CHAIN, address=address_of(account), account_id=account, xpub_id=account, address_index=0
    )
    found = [
        deposits_pb2.Deposit(
            tx_hash=hash_of(7, account),
            log_index=log,
            block_number=1,
            block_hash=hash_of(1),
            sender=SENDER,
            address=address.address,
            atomic=atomic,
        )
        for log, atomic in enumerate(amounts)
    ]
    blocks = deposits_pb2.RecordDepositsRequest(
        cursor=deposits_pb2.DepositCursor(chain_id=CHAIN, token=TOKEN, watcher=account),
        from_block=1,
        to_block=1,
        parent_hash=hash_of(0),
        end_hash=hash_of(1),
        deposits=found,
    )
    async with channel_opener(operator_files(mesh), "billing")(mesh.addresses["billing"]) as channel:
        stub = deposits_pb2_grpc.DepositServiceStub(channel)
        await stub.AddDepositAddress(deposits_pb2.AddDepositAddressRequest(address=address))
        await stub.RecordDeposits(blocks)


async def test_deposits_and_their_address_are_shown(mesh: LocalMesh) -> None:
    account = (await mesh.command("account", "create", "depositor"))["id"]
    assert await mesh.command("deposits", "address", account) == []
    assert "has no deposit address" in await text_of(mesh, "deposits", "address", "depositor")
    assert "has received no deposits" in await text_of(mesh, "deposits", "list", account)
    await deposit(mesh, account, 12_345_678, 9_999)

    (shown,) = await mesh.command("deposits", "address", "depositor")
    assert (shown["address"], shown["chain_id"], shown["address_index"]) == (address_of(account), CHAIN, 0)
    assert address_of(account) in await text_of(mesh, "deposits", "address", account)
    first, second = await mesh.command("deposits", "list", account)
    assert (first["credits"], second["credits"]) == (1_234, 1)
    assert (first["account_id"], first["deposit"]["tx_hash"]) == (account, hash_of(7, account))
    (newest,) = await mesh.command("deposits", "list", "--limit", "1")
    assert newest == second
    text = await text_of(mesh, "deposits", "list", "depositor")
    assert "12.345678" in text
    assert "0.009999" in text
    assert (await mesh.command("balance", account))["available"] == 1_235
    assert "is sound" in await text_of(mesh, "ledger", "audit")
    # Nobody watches a chain here.
    assert "has no payments" in await error_of(mesh, "deposits", "address", account, "--create")
