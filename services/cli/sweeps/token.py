"""A token on a chain, as a sweep needs it: balances, nonces that are used, and transfers away from addresses."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, TypeVar

from services.cli.chain.abi import call_data, decode_string
from services.cli.chain.rpc import NodeError, Rpc
from tiermesh.billing.v1 import sweeps_pb2

# The topic of `Transfer(address,address,uint256)`, the event of ERC-20.
TRANSFER_TOPIC = "0xddf252ad1be2c89b69c2b068fc378daa952ba7f163c4a11628f55a4df523b3ef"
# As many addresses as nodes take in one filter, and as many blocks as most take in one call.
_FILTER_ADDRESSES = 1_000
_BLOCKS = 2_000

T = TypeVar("T")


class Token:
    """One token. Every method raises NodeError."""

    def __init__(self, rpc: Rpc, address: str) -> None:
        self.rpc = rpc
        self.address = address.lower()

    def chain_id(self) -> int:
        """Returns the number of the chain."""
        return _number(self.rpc.call("eth_chainId"))

    def name_and_version(self) -> tuple[str, str]:
        """Returns what signatures for the token name."""
        try:
            name, version = (decode_string(self._read(f"{part}()", "latest")) for part in ("name", "version"))
        except ValueError:
            raise NodeError(
                f"The contract {self.address} has no name and version, so it is no token with EIP-3009."
            ) from None
        return name, version

    def block(self, tag: str) -> dict[str, Any]:
        """Returns the head of a block by its number or tag."""
        found = self.rpc.call("eth_getBlockByNumber", tag, False)
        if not isinstance(found, dict):
            raise NodeError(f"The node has no block {tag}. Wait until it has read on, or choose another node.")
        return found

    def finalized(self) -> int:
        """Returns the number of the last block that is final."""
        return _number(self.block("finalized")["number"])

    def balances(self, addresses: Sequence[str], block: int) -> list[int]:
        """Returns what each address had after a block."""
        return self._read_each("balanceOf(address)", [(int(address, 16),) for address in addresses], hex(block))

    def used(self, authorizations: Sequence[tuple[str, str]]) -> list[bool]:
        """Tells for each address and nonce whether the token has taken it."""
        words = [(int(address, 16), int(nonce, 16)) for address, nonce in authorizations]
        return [bool(state) for state in self._read_each("authorizationState(address,bytes32)", words, "latest")]

    def transfers_from(self, addresses: Sequence[str], first: int, last: int) -> list[sweeps_pb2.Sweep]:
        """Returns every transfer away from these addresses in a range of blocks."""
        return self.in_ranges(first, last, partial(self._transfers_from, addresses))

    def in_ranges(self, first: int, last: int, read: Callable[[int, int], list[T]]) -> list[T]:
        """Reads a range of blocks in parts that the node takes, and returns what all of them have."""
        found: list[T] = []
        span = _BLOCKS
        while first <= last:
            until = min(last, first + span - 1)
            try:
                part = read(first, until)
            except NodeError:
                if span == 1:
                    raise
                span = max(1, span // 2)
                continue
            found += part
            first, span = until + 1, min(_BLOCKS, span * 2)
        return found

    def _transfers_from(self, addresses: Sequence[str], first: int, last: int) -> list[sweeps_pb2.Sweep]:
        filters = [addresses[at : at + _FILTER_ADDRESSES] for at in range(0, len(addresses), _FILTER_ADDRESSES)]
        calls = [("eth_getLogs", [self._filter(part, first, last)]) for part in filters]
        wanted = set(addresses)
        found = [_transfer(log) for logs in self.rpc.batch(calls) for log in logs or ()]
        return [each for each in found if each.address in wanted and each.atomic and first <= each.block_number <= last]

    def _filter(self, addresses: Sequence[str], first: int, last: int) -> dict[str, Any]:
        topics = [TRANSFER_TOPIC, [f"0x{address[2:]:0>64}" for address in addresses]]
        return {"fromBlock": hex(first), "toBlock": hex(last), "address": self.address, "topics": topics}

    def _read(self, signature: str, block: str, *words: int) -> str:
        return str(self.rpc.call("eth_call", {"to": self.address, "data": call_data(signature, *words)}, block))

    def _read_each(self, signature: str, words: Sequence[tuple[int, ...]], block: str) -> list[int]:
        calls = [{"to": self.address, "data": call_data(signature, *each)} for each in words]
        return [_number(result) for result in self.rpc.batch([("eth_call", [call, block]) for call in calls])]


def _transfer(log: dict[str, Any]) -> sweeps_pb2.Sweep:
    return sweeps_pb2.Sweep(
        tx_hash=log["transactionHash"].lower(),
        log_index=_number(log["logIndex"]),
        block_number=_number(log["blockNumber"]),
        block_hash=log["blockHash"].lower(),
        address="0x" + log["topics"][1][-40:].lower(),
        receiver="0x" + log["topics"][2][-40:].lower(),
        atomic=_number(log["data"]),
    )


def _number(text: Any) -> int:
    try:
        return int(text, 16)
    except (TypeError, ValueError):
        raise NodeError("The node sent something that is no number. Check that --token is a token.") from None
