"""The test dollar of a local chain. Anybody may make as much of it as they like, so it is worth nothing."""

from __future__ import annotations

import json
import time
from pathlib import Path

from services.cli.chain.abi import call_data, encode_string, encode_words
from services.cli.chain.rpc import NodeError, Rpc

NAME = "Test USD"
SYMBOL = "TUSD"
DECIMALS = 6
# The first of anvil's accounts, which sends all transactions here. Its key is in anvil's documentation.
SENDER = "0xf39fd6e51aad88f6f4ce6ab8827279cfffb92266"
# The contract that the sender's first transaction makes has this address on every chain.
ADDRESS = "0x5FbDB2315678afecb367f032d93F642f64180aa3"
_CODE = Path(__file__).with_name("token") / "token.json"
# More than any transaction here needs.
_GAS = hex(6_000_000)
_MINED_SECONDS = 10.0
_COINS = 100
_POLL_SECONDS = 0.02


def creation_code(name: str = NAME, symbol: str = SYMBOL) -> str:
    """Returns the data of the transaction that makes the contract."""
    code: str = json.loads(_CODE.read_bytes())["bytecode"]
    return code + encode_words(64, 128) + encode_string(name) + encode_string(symbol)


def ensure_test_dollar(rpc: Rpc) -> None:
    """Makes the contract unless the chain has it; raises NodeError."""
    if rpc.call("eth_getCode", ADDRESS, "latest") != "0x":
        return
    _send(rpc, {"data": creation_code()})
    if rpc.call("eth_getCode", ADDRESS, "latest") == "0x":
        raise NodeError("The test token is not where it should be on the local chain. Delete the chain's directory.")


def balance(rpc: Rpc, of: str) -> int:
    """Returns what an address has, in smallest units; raises NodeError."""
    data = call_data("balanceOf(address)", int(of, 16))
    return int(rpc.call("eth_call", {"to": ADDRESS, "data": data}, "latest"), 16)


def give_gas(rpc: Rpc, address: str) -> None:
    """Gives an address coins for gas out of nothing, as the node of a local chain can; raises NodeError."""
    rpc.call("anvil_setBalance", address, hex(_COINS * 10**18))


def mint(rpc: Rpc, to: str, atomic: int) -> str:
    """Makes tokens for an address, in smallest units; returns the transaction, once mined. Raises NodeError."""
    return _send(rpc, {"to": ADDRESS, "data": call_data("mint(address,uint256)", int(to, 16), atomic)})


def _send(rpc: Rpc, call: dict[str, str]) -> str:
    tx = str(rpc.call("eth_sendTransaction", {"from": SENDER, "gas": _GAS, **call}))
    deadline = time.monotonic() + _MINED_SECONDS
    while (receipt := rpc.call("eth_getTransactionReceipt", tx)) is None:
        if time.monotonic() > deadline:
            raise NodeError("The local chain does not make blocks. Stop the mesh, and start it again.")
        time.sleep(_POLL_SECONDS)
    if receipt["status"] != "0x1":
        raise NodeError(f"The local chain has refused the transaction {tx}.")
    return tx
