"""Finds on the chain what refunds have moved."""

from __future__ import annotations

from typing import Any

from services.cli.chain.authorization import Transfer
from services.cli.sweeps.token import TRANSFER_TOPIC, Token
from tiermesh.billing.v1 import payouts_pb2

# The topic of `AuthorizationUsed(address,bytes32)`, which precedes the transfer of the authorization.
_USED_TOPIC = "0x98de503528ee59b575ef0c0a2576a82497bfc029a5685b209e9ec333479b10a5"


def block_at(token: Token, seconds: float) -> int:
    """Returns the number of the first block that is not older than a moment, Unix time; raises NodeError."""
    low, high = 0, int(token.block("latest")["number"], 16)
    while low < high:
        middle = (low + high) // 2
        if int(token.block(hex(middle))["timestamp"], 16) < seconds:
            low = middle + 1
        else:
            high = middle
    return low


def find_transfer(token: Token, transfer: Transfer, first: int, last: int) -> payouts_pb2.RecordPayoutRequest | None:
    """Returns what an authorization has moved in a range of blocks, whoever has sent it; raises NodeError."""
    topics = [_USED_TOPIC, _word(transfer.sender), transfer.nonce]

    def used(low: int, high: int) -> list[dict[str, Any]]:
        asked = {"fromBlock": hex(low), "toBlock": hex(high), "address": token.address, "topics": topics}
        return list(token.rpc.call("eth_getLogs", asked) or ())

    for log in token.in_ranges(first, last, used):
        receipt = token.rpc.call("eth_getTransactionReceipt", log["transactionHash"])
        if (found := _moved(token, transfer, receipt["logs"])) is not None:
            return found
    return None


def _moved(token: Token, transfer: Transfer, logs: list[dict[str, Any]]) -> payouts_pb2.RecordPayoutRequest | None:
    """Returns the first transfer after the use of the authorization, if it is the one that was signed."""
    used = False
    for log in logs:
        topics = [topic.lower() for topic in log["topics"]]
        if log["address"].lower() != token.address or not topics:
            continue
        if topics == [_USED_TOPIC, _word(transfer.sender), transfer.nonce]:
            used = True
        elif used and topics[0] == TRANSFER_TOPIC:
            made = topics[1:] == [_word(transfer.sender), _word(transfer.receiver)]
            if not made or int(log["data"], 16) != transfer.atomic:
                return None
            return payouts_pb2.RecordPayoutRequest(
                tx_hash=log["transactionHash"].lower(),
                log_index=int(log["logIndex"], 16),
                block_number=int(log["blockNumber"], 16),
                block_hash=log["blockHash"].lower(),
            )
    return None


def _word(address: str) -> str:
    return f"0x{address[2:].lower():0>64}"
