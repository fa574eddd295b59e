"""A node, as a watcher needs it: final blocks, and the transfers of one token in a range of them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import msgspec

from services.payments.chain.json_rpc import MOST_WORD, Call, JsonRpc, RpcError, read_number, read_result

# The topic of `Transfer(address,address,uint256)`, the event of ERC-20.
TRANSFER_TOPIC = "0xddf252ad1be2c89b69c2b068fc378daa952ba7f163c4a11628f55a4df523b3ef"
# As many addresses as nodes take in one filter.
MAX_FILTER_ADDRESSES = 1_000
# The selectors of `name()` and `decimals()`.
_NAME, _DECIMALS = "0x06fdde03", "0x313ce567"
# A hash, or an address with zeros before it.
_WORD = re.compile("0x[0-9a-f]{64}")


class Block(NamedTuple):
    """The head of a block; the time is in seconds since the Unix epoch."""

    number: int
    hash: str
    timestamp: int


class Transfer(NamedTuple):
    """One transfer of the token; hashes and addresses are in lower case, the amount in smallest units."""

    tx_hash: str
    log_index: int
    block_number: int
    block_hash: str
    sender: str
    receiver: str
    atomic: int


class Range(NamedTuple):
    """What a node tells of a range of blocks."""

    # The hash of the block before it, and of its last block.
    parent_hash: str
    end_hash: str
    transfers: Sequence[Transfer]


class Token(NamedTuple):
    """What a token says of itself."""

    name: str
    decimals: int


class _Head(msgspec.Struct, rename="camel"):
    number: str
    hash: str
    timestamp: str

    def block(self) -> Block:
        return Block(read_number(self.number), _word(self.hash), read_number(self.timestamp))


class _Log(msgspec.Struct, rename="camel"):
    address: str
    topics: list[str]
    data: str
    block_number: str
    block_hash: str
    transaction_hash: str
    log_index: str
    removed: bool = False


class Node:
    """One node of the chain with the number `chain_id`. Every method raises RpcError."""

    def __init__(self, rpc: JsonRpc, chain_id: int, token: str) -> None:
        self._rpc = rpc
        self._chain_id = chain_id
        self._token = token.lower()

    async def chain_id(self) -> int:
        """Returns the number of the chain that the node serves."""
        (result,) = await self._rpc.batch([Call("eth_chainId", [])])
        return read_number(read_result(result, str))

    async def token(self) -> Token:
        """Returns what the token says of itself."""
        calls = [Call("eth_call", [{"to": self._token, "data": data}, "latest"]) for data in (_NAME, _DECIMALS)]
        name, decimals = (read_result(result, str) for result in await self._rpc.batch(calls))
        return Token(_text(name), read_number(decimals))

    async def finalized(self) -> Block:
        """Returns the last block that is final."""
        return _there((await self._heads([_head_at("finalized")]))[0])

    async def ends(self) -> tuple[Block, Block]:
        """Returns the last block that is final, and the newest block."""
        final, newest = await self._heads([_head_at("finalized"), _head_at("latest")])
        return _there(final), _there(newest)

    async def block(self, number: int) -> Block:
        """Returns a block by its number."""
        return _numbered((await self._heads([_head_of(number)]))[0], number)

    async def range(self, first: int, last: int, addresses: Sequence[str]) -> Range:
        """Returns what these addresses have received in a range of blocks, and the hashes at its edges.

        A node that has not all of the blocks, or contradicts itself, is an error. What it tells beyond what was asked
        counts for nothing.
        """
        filters = [addresses[at : at + MAX_FILTER_ADDRESSES] for at in range(0, len(addresses), MAX_FILTER_ADDRESSES)]
        calls = [self._logs_of(first, last, part) for part in filters]
        before_first, *logs, at_last = await self._asked([_head_of(first - 1), *calls, _head_of(last)])
        before, after = _numbered(_head(before_first), first - 1), _numbered(_head(at_last), last)
        wanted = {address.lower() for address in addresses}
        found: dict[tuple[str, int], Transfer] = {}
        for result in logs:
            for transfer in self._transfers(read_result(result, list[_Log]), first, last):
                if transfer.receiver in wanted:
                    found[transfer.tx_hash, transfer.log_index] = transfer
        await self._check_blocks(found, {before.number: before, after.number: after})
        return Range(before.hash, after.hash, tuple(found.values()))

    async def received(self, address: str, ranges: Sequence[tuple[int, int]]) -> Sequence[Transfer]:
        """Returns what an address has received in ranges of blocks, newest first; they need not be final.

        Nothing is compared with the heads of blocks, so it is good for showing and not for crediting.
        """
        found = []
        calls = [self._logs_of(first, last, [address]) for first, last in ranges]
        for (first, last), result in zip(ranges, await self._asked(calls), strict=True):
            transfers = self._transfers(read_result(result, list[_Log]), first, last)
            found += [each for each in transfers if each.receiver == address.lower()]
        return sorted(found, key=lambda each: (each.block_number, each.log_index), reverse=True)

    async def close(self) -> None:
        """Closes the connections."""
        await self._rpc.close()

    async def _check_blocks(self, found: Mapping[tuple[str, int], Transfer], known: dict[int, Block]) -> None:
        """Checks that every transfer is in the block that the chain has at its height."""
        missing = sorted({each.block_number for each in found.values()} - known.keys())
        if missing:
            heads = await self._heads([_head_of(number) for number in missing])
            known |= {number: _numbered(head, number) for number, head in zip(missing, heads, strict=True)}
        for transfer in found.values():
            if known[transfer.block_number].hash != transfer.block_hash:
                raise RpcError(f"the node has two blocks {transfer.block_number}")

    async def _heads(self, calls: Sequence[Call]) -> list[_Head | None]:
        return [_head(result) for result in await self._asked(calls)]

    async def _asked(self, calls: Sequence[Call]) -> list[msgspec.Raw]:
        """Makes the calls, and has the same request tell which chain answers: another one's numbers fit, too."""
        chain_id, *results = await self._rpc.batch([Call("eth_chainId", []), *calls])
        if (answered := read_number(read_result(chain_id, str))) != self._chain_id:
            raise RpcError(f"the node answers for the chain {answered} now")
        return results

    def _logs_of(self, first: int, last: int, addresses: Sequence[str]) -> Call:
        topics = [TRANSFER_TOPIC, None, [f"0x{address.lower()[2:]:0>64}" for address in addresses]]
        asked = {"fromBlock": hex(first), "toBlock": hex(last), "address": self._token, "topics": topics}
        return Call("eth_getLogs", [asked])

    def _transfers(self, logs: Sequence[_Log], first: int, last: int) -> Iterator[Transfer]:
        """Yields what is a transfer of the token in these blocks: a node may ignore what it was asked for."""
        for log in logs:
            if log.address.lower() != self._token or log.removed or len(log.topics) != 3:
                continue
            number, atomic = read_number(log.block_number), read_number(log.data, most=MOST_WORD)
            if log.topics[0].lower() == TRANSFER_TOPIC and first <= number <= last and atomic:
                yield Transfer(
                    *(_word(log.transaction_hash), read_number(log.log_index), number, _word(log.block_hash)),
                    *(_address(log.topics[1]), _address(log.topics[2]), atomic),
                )


def _head_of(number: int) -> Call:
    return _head_at(hex(number))


def _head_at(place: str) -> Call:
    return Call("eth_getBlockByNumber", [place, False])


def _head(result: msgspec.Raw) -> _Head | None:
    return None if bytes(result) == b"null" else read_result(result, _Head)


def _there(head: _Head | None) -> Block:
    if head is None:
        raise RpcError("the node lacks a block that it should have")
    return head.block()


def _numbered(head: _Head | None, number: int) -> Block:
    """Returns a block that was asked for by its number: billing believes for ever what its hash is."""
    block = _there(head)
    if block.number != number:
        raise RpcError(f"the node sent the block {block.number} in place of {number}")
    return block


def _word(text: str) -> str:
    """Returns 32 bytes in lower case. Billing refuses others, and what it refuses stops a watcher."""
    lower = text.lower()
    if not _WORD.fullmatch(lower):
        raise RpcError("the node sent a hash that is none")
    return lower


def _address(topic: str) -> str:
    return "0x" + _word(topic)[-40:]


def _text(encoded: str) -> str:
    """Reads a string as contracts return it: its place, its length in bytes, and its bytes."""
    try:
        data = bytes.fromhex(encoded.removeprefix("0x"))
        return data[64 : 64 + int.from_bytes(data[32:64], "big")].decode()
    except ValueError as error:
        raise RpcError("the token has a name that cannot be read") from error
