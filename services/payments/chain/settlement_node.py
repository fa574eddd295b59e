"""A node, as the relayer needs it: whether an authorization can be settled, sending it, and what became of it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import msgspec

from services.payments.chain.json_rpc import (
    MOST_WORD,
    Call,
    JsonRpc,
    RpcError,
    RpcRefusedError,
    read_number,
    read_result,
)
from services.payments.chain.node import TRANSFER_TOPIC

# The selectors of `balanceOf(address)`, `authorizationState(address,bytes32)` and `DOMAIN_SEPARATOR()`.
_BALANCE, _USED, _DOMAIN = "0x70a08231", "0xe94a0102", "0x3644e515"
# The topic of `AuthorizationUsed(address,bytes32)`, which precedes the transfer of the authorization.
_USED_TOPIC = "0x98de503528ee59b575ef0c0a2576a82497bfc029a5685b209e9ec333479b10a5"
# JSON-RPC's code for a call that the contract refuses.
_REVERTED = 3


class Position(NamedTuple):
    """What a wallet has at this moment; the balance is in smallest units."""

    block: int
    balance: int
    # Whether the authorization of the nonce was used or cancelled.
    used: bool
    # Whether the transfer would go through.
    settles: bool


class Transfer(NamedTuple):
    """A transfer that an authorization has made."""

    tx_hash: str
    log_index: int
    block_number: int
    block_hash: str


class _Head(msgspec.Struct):
    number: str


class _Log(msgspec.Struct, rename="camel"):
    address: str
    topics: list[str]
    data: str
    log_index: str
    transaction_hash: str


class Receipt(msgspec.Struct, rename="camel"):
    """What a block has of a transaction."""

    status: str
    block_number: str
    block_hash: str
    transaction_hash: str
    logs: list[_Log]

    @property
    def succeeded(self) -> bool:
        """Whether the transaction did what it says."""
        return read_number(self.status) == 1


class SettlementNode:
    """One node of a chain; `relayer` is the address that pays the gas. Every method raises RpcError."""

    def __init__(self, rpc: JsonRpc, token: str, relayer: str) -> None:
        self._rpc = rpc
        self._token = token.lower()
        self._relayer = relayer

    async def domain(self) -> str:
        """Returns the domain separator (EIP-712) that the token checks signatures by."""
        (result,) = await self._rpc.batch([self._call(_DOMAIN)])
        return read_result(result, str).lower()

    async def position(self, payer: str, nonce: str, transfer: str) -> Position:
        """Returns what the wallet has, and whether the call `transfer` would go through now."""
        simulated = Call("eth_call", [{"from": self._relayer, "to": self._token, "data": transfer}, "latest"])
        head, balance, used, outcome = await self._rpc.attempt(
            [
                Call("eth_blockNumber", []),
                self._call(_BALANCE + _word(payer)),
                self._call(_USED + _word(payer) + _word(nonce)),
                simulated,
            ]
        )
        is_used, owned = _amount(used) != 0, _amount(balance)
        if isinstance(outcome, RpcRefusedError) and outcome.code != _REVERTED and not is_used and owned:
            # Some nodes have other codes for what a contract refuses, and all have some for what is no answer.
            raise outcome
        return Position(_number(head), owned, is_used, not isinstance(outcome, RpcRefusedError))

    async def pending_nonce(self) -> int:
        """Returns the relayer's next nonce, as the node sees it."""
        (result,) = await self._rpc.batch([Call("eth_getTransactionCount", [self._relayer, "pending"])])
        return _number(result)

    async def gas_price(self) -> int:
        """Returns what gas costs now, in wei."""
        (result,) = await self._rpc.batch([Call("eth_gasPrice", [])])
        return _amount(result)

    async def gas(self) -> int:
        """Returns what the relayer has left for gas, in wei."""
        (result,) = await self._rpc.batch([Call("eth_getBalance", [self._relayer, "latest"])])
        return _amount(result)

    async def send(self, raw: str) -> None:
        """Sends a signed transaction. One that the node knows already is refused."""
        await self._rpc.batch([Call("eth_sendRawTransaction", [raw])])

    async def receipt(self, tx_hash: str) -> Receipt | None:
        """Returns the receipt of a transaction; None if it is in no block."""
        (result,) = await self._rpc.batch([Call("eth_getTransactionReceipt", [tx_hash])])
        return None if bytes(result) == b"null" else read_result(result, Receipt)

    async def finalized(self) -> int:
        """Returns the number of the last final block."""
        (result,) = await self._rpc.batch([Call("eth_getBlockByNumber", ["finalized", False])])
        return read_number(read_result(result, _Head).number)

    async def transfer_by(self, payer: str, nonce: str, pay_to: str, atomic: int, from_block: int) -> Transfer | None:
        """Returns the transfer that the authorization has made, whoever has sent it; None if it has made none."""
        topics = [_USED_TOPIC, "0x" + _word(payer), nonce]
        asked = {"fromBlock": hex(from_block), "toBlock": "latest", "address": self._token, "topics": topics}
        (result,) = await self._rpc.batch([Call("eth_getLogs", [asked])])
        for log in read_result(result, list[_Log]):
            receipt = await self.receipt(log.transaction_hash)
            if receipt is not None and (found := self.transfer_in(receipt, payer, nonce, pay_to, atomic)) is not None:
                return found
        return None

    def transfer_in(self, receipt: Receipt, payer: str, nonce: str, pay_to: str, atomic: int) -> Transfer | None:
        """Returns the transfer that the authorization has made in a transaction: the first one after its use."""
        used = False
        for log in receipt.logs if receipt.succeeded else ():
            topics = [topic.lower() for topic in log.topics]
            if log.address.lower() != self._token or not topics:
                continue
            if topics == [_USED_TOPIC, "0x" + _word(payer), nonce.lower()]:
                used = True
            elif used and topics[0] == TRANSFER_TOPIC:
                parties = ["0x" + _word(payer), "0x" + _word(pay_to)]
                if topics[1:] != parties or read_number(log.data, most=MOST_WORD) != atomic:
                    return None
                return Transfer(
                    *(receipt.transaction_hash.lower(), read_number(log.log_index)),
                    *(read_number(receipt.block_number), receipt.block_hash.lower()),
                )
        return None

    async def close(self) -> None:
        """Closes the connections."""
        await self._rpc.close()

    def _call(self, data: str) -> Call:
        return Call("eth_call", [{"to": self._token, "data": data}, "latest"])


def _number(result: msgspec.Raw | RpcRefusedError) -> int:
    return read_number(_text(result))


def _amount(result: msgspec.Raw | RpcRefusedError) -> int:
    return read_number(_text(result), most=MOST_WORD)


def _text(result: msgspec.Raw | RpcRefusedError) -> str:
    if isinstance(result, RpcRefusedError):
        raise result
    return read_result(result, str)


def _word(value: str) -> str:
    """Returns a hexadecimal value as one word of a call."""
    digits = value.lower().removeprefix("0x")
    if len(digits) > 64:
        raise RpcError("a value has more than 32 bytes")
    return digits.rjust(64, "0")


def encode_words(selector: str, words: Sequence[int | str]) -> str:
    """Returns the data of a call whose parameters are one word each."""
    return selector + "".join(_word(hex(word) if isinstance(word, int) else word) for word in words)
