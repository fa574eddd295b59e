"""Refuses to start with another chain or another token than the settings say: credits would be given for nothing."""

from __future__ import annotations

from collections.abc import Sequence

from services.common.retry.backoff import Backoff
from services.common.settings import SettingsError
from services.common.telemetry.logs import get_logger
from services.payments.chain.json_rpc import RpcError
from services.payments.chain.node import Node

log = get_logger()

# Billing's smallest units have six decimals.
DECIMALS = 6
_FIRST_PAUSE, _LONGEST_PAUSE = 0.5, 10.0


async def check_nodes(nodes: Sequence[Node], chain_id: int, token_name: str) -> None:
    """Returns once every node has confirmed chain and token, however long it is away; raises SettingsError."""
    for node in nodes:
        backoff = Backoff(_FIRST_PAUSE, _LONGEST_PAUSE)
        while True:
            try:
                await check_node(node, chain_id, token_name)
                break
            except RpcError as error:
                log.warning("waiting_for_node", reason=str(error))
            await backoff.pause()


async def check_node(node: Node, chain_id: int, token_name: str) -> None:
    """Compares what a node says with the settings; raises SettingsError, and RpcError if it does not answer."""
    if (answered := await node.chain_id()) != chain_id:
        raise SettingsError(f"CHAIN_ID is {chain_id}, but the node serves the chain {answered}. Correct one of them")
    token = await node.token()
    if token.name != token_name:
        raise SettingsError(
            f"TOKEN_NAME is {token_name!r}, but the contract calls itself {token.name[:100]!r}. Check TOKEN, and then "
            "correct TOKEN_NAME"
        )
    if token.decimals != DECIMALS:
        raise SettingsError(
            f"TOKEN has {token.decimals} decimals, but only tokens with {DECIMALS} decimals can be counted. Choose "
            "another token"
        )
