"""A real EVM chain on loopback: anvil, a six-decimal dollar token, and accounts that anvil signs for.

Every transaction is a block of its own, and `finalized` is two blocks behind the head unless `epoch` says otherwise.
"""

from __future__ import annotations

import itertools
import json
import subprocess
import time
import urllib.request
from types import TracebackType
from typing import Any, Self

from eth_hash.auto import keccak

from services.cli.chain.abi import encode_words
from services.cli.chain.dollar import creation_code
from tests.support import programs
from tests.support.deadlines import stretched
from tests.support.ports import free_address
from tests.support.waiting import eventually

CHAIN_ID = 31337
# The public half, at m/44'/60'/0'/0, of the mnemonic that tests of wallets use everywhere.
XPUB = "xpub6DyUKdwoLWmUJ4Tn9Bbsdtx7B5Ws18mEN19e5HT52ikE53FiUheSQXrZUNPovqfyKmw4579A1Mm3GXXKM39N64uooBfJ4tNAzFsEbodRTx4"
TOKEN_NAME = "USD Coin"
_START_SECONDS = 20.0
# More gas than any transaction here needs.
_GAS = hex(6_000_000)


class Chain:
    """One anvil; `async with` starts and stops it. Use `await start()` and `stop()` for a fixture of any scope."""

    def __init__(self, *, chain_id: int = CHAIN_ID, epoch: int = 1) -> None:
        self.chain_id = chain_id
        address = free_address()
        self.url = f"http://{address}"
        host, _, port = address.rpartition(":")
        self._command = [str(programs.anvil()), "--host", host, "--port", port, "--silent"]
        # Its own accounts are none of those that XPUB leads to.
        self._command += ["--mnemonic-seed-unsafe", "7"]
        self._command += ["--chain-id", str(chain_id), "--slots-in-an-epoch", str(epoch)]
        self._ids = itertools.count(1)
        self._process: subprocess.Popen[bytes] | None = None
        self.accounts: list[str] = []

    async def start(self) -> None:
        """Returns once the chain answers."""
        self.spawn()
        await eventually(self._answers, _START_SECONDS)
        self.accounts = self.rpc("eth_accounts")

    def spawn(self) -> None:
        """Starts the chain without waiting."""
        self._process = subprocess.Popen(self._command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def stop(self) -> None:
        """Ends the chain, and everything on it."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def rpc(self, method: str, *parameters: Any) -> Any:
        """Calls a method of JSON-RPC; fails the test if the chain refuses."""
        body = json.dumps({"jsonrpc": "2.0", "id": next(self._ids), "method": method, "params": parameters}).encode()
        request = urllib.request.Request(self.url, body, {"content-type": "application/json"})
        with urllib.request.urlopen(request, timeout=30) as response:
            reply = json.load(response)
        assert "error" not in reply, reply["error"]
        return reply["result"]

    def mine(self, blocks: int = 1) -> None:
        """Adds empty blocks."""
        self.rpc("anvil_mine", hex(blocks))

    def head(self, tag: str = "latest") -> int:
        """Returns the number of a block."""
        return int(self.rpc("eth_getBlockByNumber", tag, False)["number"], 16)

    def rewrite(self, depth: int) -> None:
        """Replaces the last blocks by empty ones, as a reorganisation does."""
        self.rpc("anvil_reorg", depth, [])

    def send(self, to: str | None, data: str) -> str:
        """Sends a transaction of the first of anvil's accounts; returns its hash once it is in a block of its own."""
        call = {"from": self.accounts[0], "data": data, "gas": _GAS} | ({"to": to} if to else {})
        return self.confirmed(str(self.rpc("eth_sendTransaction", call)))

    def confirmed(self, tx: str) -> str:
        """Returns once a transaction is in a block, which is a moment after it was sent."""
        deadline = time.monotonic() + stretched(_START_SECONDS)
        while self.rpc("eth_getTransactionReceipt", tx) is None:
            assert time.monotonic() < deadline, "anvil does not mine"
        return tx

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _answers(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, "anvil ended while it should run"
        try:
            return bool(self.rpc("eth_chainId"))
        except OSError:
            return False


class TokenContract:
    """A token of the tests on a chain; the first of anvil's accounts owns more of it than anybody needs."""

    def __init__(self, chain: Chain, name: str = TOKEN_NAME) -> None:
        self._chain = chain
        receipt = chain.rpc("eth_getTransactionReceipt", chain.send(None, creation_code(name, "USDC")))
        self.address: str = receipt["contractAddress"]
        self.mint(chain.accounts[0], 10**17)

    def mint(self, to: str, atomic: int) -> str:
        """Makes tokens out of nothing."""
        return self._call("mint(address,uint256)", encode_words(int(to, 16), atomic))

    def transfer(self, to: str, atomic: int) -> str:
        """Sends tokens; returns the hash of the transaction."""
        return self._call("transfer(address,uint256)", encode_words(int(to, 16), atomic))

    def transfer_many(self, to: list[str], atomic: int) -> str:
        """Sends tokens to each of several addresses in one transaction."""
        receivers = encode_words(64, atomic, len(to), *(int(each, 16) for each in to))
        return self._call("transferMany(address[],uint256)", receivers)

    def balance(self, of: str) -> int:
        """Returns what an address owns."""
        data = _selector("balanceOf(address)") + encode_words(int(of, 16))
        return int(self._chain.rpc("eth_call", {"to": self.address, "data": data}, "latest"), 16)

    def balance_slot(self, of: str) -> str:
        """Returns where the contract stores what an address owns."""
        # The mapping `balanceOf` is the fourth variable, after name, symbol and the supply.
        return f"0x{keccak(bytes.fromhex(encode_words(int(of, 16), 3))).hex()}"

    def _call(self, signature: str, words: str) -> str:
        return self._chain.send(self.address, _selector(signature) + words)


def _selector(signature: str) -> str:
    return f"0x{keccak(signature.encode())[:4].hex()}"
