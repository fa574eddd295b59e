"""Who sends transactions, and pays for their gas: a key of the operator's, or an account of a local chain."""

from __future__ import annotations

import time
from typing import Any, Protocol

from services.cli.chain.dollar import SENDER
from services.cli.chain.rpc import NodeError, Rpc
from services.cli.chain.wallet import SigningKey
from services.common.ethereum import rlp
from services.common.ethereum.addresses import keccak

# What an estimate is multiplied by, in percent: another transaction may come first.
_GAS_PERCENT = 125
# The type of transactions that pay a tip (EIP-1559).
_TYPE = b"\x02"
_MINED_SECONDS = 180.0
_POLL_SECONDS = 0.1


class Sender(Protocol):
    """Sends a call; every method raises NodeError."""

    @property
    def address(self) -> str:
        """Who sends."""

    def send(self, to: str, data: str, gas: int) -> str:
        """Sends a transaction, and returns its hash."""


class KeySender:
    """Signs transactions with a key that needs nothing but coins for gas."""

    def __init__(self, rpc: Rpc, key: SigningKey, chain_id: int) -> None:
        self._rpc = rpc
        self._key = key
        self._chain_id = chain_id

    @property
    def address(self) -> str:
        """Who sends."""
        return self._key.address

    def send(self, to: str, data: str, gas: int) -> str:
        """Sends a transaction, and returns its hash; raises NodeError."""
        nonce, tip, block = self._rpc.batch(
            [
                ("eth_getTransactionCount", [self.address, "pending"]),
                ("eth_maxPriorityFeePerGas", []),
                ("eth_getBlockByNumber", ["latest", False]),
            ]
        )
        most = 2 * int(block["baseFeePerGas"], 16) + int(tip, 16)
        fields: list[rlp.Item] = [
            *(self._chain_id, int(nonce, 16), int(tip, 16), most, gas),
            *(bytes.fromhex(to[2:]), 0, bytes.fromhex(data[2:]), []),
        ]
        signature = self._key.sign(keccak(_TYPE + rlp.encode(fields)))
        raw = _TYPE + rlp.encode([*fields, *signature])
        return str(self._rpc.call("eth_sendRawTransaction", f"0x{raw.hex()}"))


class LocalSender:
    """Has anvil sign for an account of its own."""

    def __init__(self, rpc: Rpc) -> None:
        self._rpc = rpc

    @property
    def address(self) -> str:
        """Who sends."""
        return SENDER

    def send(self, to: str, data: str, gas: int) -> str:
        """Sends a transaction, and returns its hash; raises NodeError."""
        call = {"from": SENDER, "to": to, "data": data, "gas": hex(gas)}
        return str(self._rpc.call("eth_sendTransaction", call))


def send_and_wait(rpc: Rpc, sender: Sender, to: str, data: str) -> bool:
    """Sends a call, and returns once it is in a block, and whether it did what it should; raises NodeError.

    A call that would be refused is not sent, so it costs no gas.
    """
    gas = int(rpc.call("eth_estimateGas", {"from": sender.address, "to": to, "data": data}), 16)
    tx = sender.send(to, data, gas * _GAS_PERCENT // 100)
    deadline = time.monotonic() + _MINED_SECONDS
    receipt: dict[str, Any] | None
    while (receipt := rpc.call("eth_getTransactionReceipt", tx)) is None:
        if time.monotonic() > deadline:
            raise NodeError(f"The transaction {tx} is in no block yet. Send the file again later; nothing moves twice.")
        time.sleep(_POLL_SECONDS)
    return str(receipt["status"]) == "0x1"
