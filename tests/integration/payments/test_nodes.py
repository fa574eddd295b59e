"""Nodes that forget, lag, refuse or lie: nothing is credited that was not sent, and nothing that was sent is lost."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest

from services.common.settings import SettingsError
from services.payments.chain.json_rpc import MAX_REPLY_BYTES, JsonRpc, RpcError
from services.payments.chain.node import MAX_FILTER_ADDRESSES, Node
from services.payments.token_check import check_node
from tests.integration.payments.world import World
from tests.support.chain import CHAIN_ID, TokenContract
from tests.support.node_proxy import honest

Call = dict[str, Any]


def without_logs(call: Call, reply: Call) -> Call:
    return {**reply, "result": []} if call["method"] == "eth_getLogs" else reply


async def test_what_a_forgetful_node_left_out_is_found_by_the_second_watcher(world: World) -> None:
    world.token.transfer(world.addresses["ada"], 40_000)
    world.finalize()
    world.proxy.change = without_logs
    first = world.watcher()
    assert await world.read(first) > 0
    world.proxy.change = honest
    assert await world.read(first) == 0
    assert await world.credits() == {"ada": 0, "grace": 0, "edsger": 0}
    second = world.watcher("second", url=world.chain.url)
    assert await world.read(second) > 0
    assert await world.read(second) == 0
    await world.agrees()


async def test_a_node_that_lacks_blocks_is_asked_again(world: World) -> None:
    world.token.transfer(world.addresses["ada"], 40_000)
    world.finalize()
    last = world.chain.head("finalized")

    def lagging(call: Call, reply: Call) -> Call:
        behind = call["method"] == "eth_getBlockByNumber" and call["params"][0] == hex(last)
        return {**reply, "result": None} if behind else reply

    world.proxy.change = lagging
    watcher = world.watcher()
    with pytest.raises(RpcError, match="lacks a block"):
        await watcher.step()
    world.proxy.change = honest
    await world.read(watcher)
    await world.agrees()


async def test_a_node_whose_head_goes_back_changes_nothing(world: World) -> None:
    watcher = world.watcher()
    world.token.transfer(world.addresses["ada"], 40_000)
    world.finalize()
    await world.read(watcher)
    old = world.chain.rpc("eth_getBlockByNumber", hex(world.chain.head("finalized") - 2), False)

    def old_head(call: Call, reply: Call) -> Call:
        return {**reply, "result": old} if call["params"][:1] == ["finalized"] else reply

    world.proxy.change = old_head
    assert await watcher.step() == 0
    await world.agrees()


async def test_another_chain_behind_the_same_address_is_not_believed(world: World) -> None:
    world.token.transfer(world.addresses["ada"], 40_000)
    world.finalize()
    watcher = world.watcher()

    def another_chain(call: Call, reply: Call) -> Call:
        if call["method"] == "eth_chainId":
            return {**reply, "result": "0x1"}
        return {**reply, "result": {**reply["result"], "hash": "0x" + 64 * "e"}} if reply["result"] else reply

    world.proxy.change = another_chain
    with pytest.raises(RpcError, match="for the chain 1 now"):
        await watcher.step()
    world.proxy.change = honest
    await world.read(watcher)
    await world.agrees()


def _with_logs(change: Callable[[Call], Call]) -> Callable[[Call, Call], Call]:
    """Adds to every log a changed copy of it, with a transaction of its own."""

    def changed(call: Call, reply: Call) -> Call:
        if call["method"] != "eth_getLogs":
            return reply
        forged = [{**change(dict(log)), "transactionHash": "0x" + 64 * "f"} for log in reply["result"]]
        return {**reply, "result": reply["result"] + forged}

    return changed


@pytest.mark.parametrize(
    "lie",
    [
        lambda log: {**log, "address": "0x" + 40 * "a"},
        lambda log: {**log, "topics": ["0x" + 64 * "a", *log["topics"][1:]]},
        lambda log: {**log, "topics": log["topics"][:2]},
        lambda log: {**log, "topics": [*log["topics"][:2], "0x" + 64 * "3"]},
        lambda log: {**log, "removed": True},
        lambda log: {**log, "blockNumber": "0xffffff"},
        lambda log: {**log, "blockNumber": "0x0"},
        lambda log: {**log, "data": "0x" + 64 * "0"},
    ],
    ids=["token", "event", "topics", "stranger", "removed", "later", "earlier", "nothing"],
)
async def test_logs_that_were_not_asked_for_count_for_nothing(world: World, lie: Callable[[Call], Call]) -> None:
    world.token.transfer(world.addresses["ada"], 40_000)
    world.finalize()
    world.proxy.change = _with_logs(lie)
    await world.read(world.watcher())
    await world.agrees()


@pytest.mark.parametrize(
    "lie",
    [
        lambda log: {**log, "blockHash": "0x" + 64 * "a"},
        lambda log: {**log, "blockHash": None},
        lambda log: {**log, "logIndex": "many"},
        lambda log: {**log, "data": "0x"},
    ],
    ids=["block", "pending", "index", "amount"],
)
async def test_logs_that_contradict_the_chain_are_an_error(world: World, lie: Callable[[Call], Call]) -> None:
    world.token.transfer(world.addresses["ada"], 40_000)
    world.finalize()
    world.proxy.change = _with_logs(lie)
    watcher = world.watcher()
    with pytest.raises(RpcError):
        await world.read(watcher)
    world.proxy.change = honest
    await world.read(watcher)
    await world.agrees()


@pytest.mark.parametrize(
    ("method", "lie"),
    [
        ("eth_getBlockByNumber", lambda head: {**head, "number": hex(int(head["number"], 16) + 1)}),
        ("eth_getBlockByNumber", lambda head: {**head, "number": f"-{head['number']}"}),
        ("eth_getBlockByNumber", lambda head: {**head, "number": hex(2**63)}),
        ("eth_getBlockByNumber", lambda head: {**head, "hash": "0x"}),
        ("eth_getLogs", lambda log: {**log, "transactionHash": "0x12"}),
        ("eth_getLogs", lambda log: {**log, "topics": [log["topics"][0], "0x" + 64 * "z", log["topics"][2]]}),
        ("eth_getLogs", lambda log: {**log, "logIndex": hex(2**64)}),
        ("eth_getLogs", lambda log: {**log, "logIndex": "0x-1"}),
        ("eth_getLogs", lambda log: {**log, "data": "0x" + 66 * "f"}),
    ],
    ids=["another", "negative", "large", "hash", "transaction", "sender", "index", "below", "amount"],
)
async def test_nothing_of_a_confused_node_reaches_billing(
    world: World, method: str, lie: Callable[[Call], Call]
) -> None:
    """Billing would believe it, or refuse it and so have the watcher stop until a person has looked."""
    world.token.transfer(world.addresses["ada"], 40_000)
    world.finalize()
    before = await world.billing.place("first")

    def confused(call: Call, reply: Call) -> Call:
        # Which block is final, only this reply says.
        if call["method"] != method or call["params"][0] == "finalized":
            return reply
        result = reply["result"]
        return {**reply, "result": [lie(each) for each in result] if isinstance(result, list) else lie(result)}

    world.proxy.change = confused
    watcher = world.watcher()
    with pytest.raises(RpcError):
        await watcher.step()
    assert await world.billing.place("first") == before
    world.proxy.change = honest
    await world.read(watcher)
    await world.agrees()


async def test_a_reply_that_is_nested_without_end_is_an_error(world: World) -> None:
    world.proxy.instead = 200, b'[{"id": 1, "result": ' + b"[" * 100_000 + b"]" * 100_000 + b"}]"
    with pytest.raises(RpcError):
        await world.watcher().step()


async def test_ranges_are_halved_until_the_node_takes_them_and_grow_again(world: World) -> None:
    for _ in range(9):
        world.token.transfer(world.addresses["ada"], 10_000)
    world.finalize()
    asked: list[int] = []

    def capped(call: Call, reply: Call) -> Call:
        if call["method"] != "eth_getLogs":
            return reply
        span = int(call["params"][0]["toBlock"], 16) - int(call["params"][0]["fromBlock"], 16) + 1
        asked.append(span)
        refused = {"jsonrpc": "2.0", "id": call["id"], "error": {"code": -32005, "message": "too many blocks"}}
        return refused if span > 2 else reply

    world.proxy.change = capped
    watcher = world.watcher(most_blocks=16)
    while world.chain.head("finalized") >= (await _next(world)):
        with suppress(RpcError):
            await watcher.step()
    assert max(asked) > 2
    assert asked[-1] <= 2
    await world.agrees()
    # A node that takes more again gets more.
    world.proxy.change = honest
    world.chain.mine(40)
    before = len(world.proxy.calls)
    await world.read(watcher)
    spans = [
        int(c["params"][0]["toBlock"], 16) - int(c["params"][0]["fromBlock"], 16) + 1
        for c in world.proxy.calls[before:]
        if c["method"] == "eth_getLogs"
    ]
    assert max(spans) == 16


async def _next(world: World) -> int:
    place = await world.billing.place("first")
    assert place is not None
    return place.next_block


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (500, b"[]"),
        (302, b""),
        (200, b"not json"),
        (200, b"{}"),
        (200, b"[]"),
        (200, b'[{"id": 1, "result": 5}]'),
        (200, b" " * (MAX_REPLY_BYTES + 1)),
    ],
    ids=["status", "redirect", "junk", "object", "nothing", "number", "endless"],
)
async def test_junk_is_an_error_and_nothing_else(world: World, status: int, body: bytes) -> None:
    watcher = world.watcher()
    world.proxy.instead = status, body
    with pytest.raises(RpcError) as caught:
        await watcher.step()
    assert world.proxy.url not in str(caught.value)
    world.proxy.instead = None
    world.token.transfer(world.addresses["ada"], 40_000)
    world.finalize()
    await world.read(watcher)
    await world.agrees()


async def test_a_node_that_is_away_is_an_error(world: World) -> None:
    with pytest.raises(RpcError, match="did not answer"):
        await world.watcher(url="http://127.0.0.1:1/secret").step()


async def test_a_filter_has_at_most_a_thousand_addresses(world: World) -> None:
    node = Node(JsonRpc(world.proxy.url, 10.0), CHAIN_ID, world.token.address)
    world.token.transfer(world.addresses["ada"], 40_000)
    head = world.chain.head()
    many = [f"0x{number:040x}" for number in range(2_500)]
    world.proxy.calls.clear()
    found = await node.range(head, head, [*many, world.addresses["ada"]])
    assert [each.atomic for each in found.transfers] == [40_000]
    filters = [call["params"][0]["topics"][2] for call in world.proxy.calls if call["method"] == "eth_getLogs"]
    assert [len(each) for each in filters] == [MAX_FILTER_ADDRESSES, MAX_FILTER_ADDRESSES, 501]
    await node.close()


async def test_another_chain_token_or_scale_is_refused_before_anything_is_read(world: World) -> None:
    fake = TokenContract(world.chain, "Fake Coin")
    url, token = world.chain.url, world.token.address

    async def refusal(chain_id: int, address: str, name: str = "USD Coin", proxy: bool = False) -> str:
        node = Node(JsonRpc(world.proxy.url if proxy else url, 10.0), chain_id, address)
        try:
            with pytest.raises(SettingsError) as caught:
                await check_node(node, chain_id, name)
        finally:
            await node.close()
        return str(caught.value)

    assert "the node serves the chain 31337" in await refusal(8453, token)
    assert "calls itself 'Fake Coin'" in await refusal(CHAIN_ID, fake.address)
    assert "calls itself 'USD Coin'" in await refusal(CHAIN_ID, token, "USDC")

    def eighteen(call: Call, reply: Call) -> Call:
        decimals = call["method"] == "eth_call" and call["params"][0]["data"] == "0x313ce567"
        return {**reply, "result": hex(18)} if decimals else reply

    world.proxy.change = eighteen
    assert "has 18 decimals" in await refusal(CHAIN_ID, token, proxy=True)
    # What is no contract has no name.
    nobody = Node(JsonRpc(url, 10.0), CHAIN_ID, "0x" + 40 * "1")
    with pytest.raises((RpcError, SettingsError)):
        await check_node(nobody, CHAIN_ID, "USD Coin")
    await nobody.close()
