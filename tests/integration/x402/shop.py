"""A mesh whose requests wallets can pay for, on a real chain that looks like Base, and wallets with official clients.

The official clients refuse tokens that they do not know. So the chain has Base's number, and the token is at the
address of USDC there.
"""

from __future__ import annotations

import asyncio
import base64
import json
import ssl
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import httpx
import openai
from eth_account import Account
from x402 import x402Client
from x402.http.clients.httpx import x402AsyncTransport
from x402.http.x402_http_client import x402HTTPClient
from x402.mechanisms.evm import EthAccountSigner
from x402.mechanisms.evm.exact.register import register_exact_evm_client

from services.common.receipts.claims import ReceiptClaims
from services.common.receipts.finding import covered, find_token
from services.common.receipts.verifying import read_public_keys, verify
from services.common.rpc.channels import channel_opener
from services.common.rpc.interceptors import call_unary
from services.common.settings import TlsSettings
from services.payments.chain.transactions import GasKey
from tests.integration.billing.billing_client import BillingClient
from tests.support.chain import TOKEN_NAME, XPUB, Chain, TokenContract
from tests.support.deadlines import stretched
from tests.support.forked_service import ForkedServiceProcess, import_services
from tests.support.mesh import LocalMesh
from tests.support.ports import free_address
from tests.support.waiting import eventually
from tiermesh.billing.v1 import deposits_pb2, deposits_pb2_grpc
from tiermesh.billing.v1 import wallet_payments_pb2 as payments_pb2
from tiermesh.billing.v1 import wallet_payments_pb2_grpc as payments_grpc

CHAIN_ID = 8453
TOKEN = "0x833589fCD6eDb6E08f4c7C32D4f71b54bdA02913"
# Nobody has the key of this address.
TREASURY = "0x" + "77" * 20
RELAYER_KEY = "0x" + "5a" * 32
CREDIT = 10_000
PRICE = 10
# Slow enough to do something in the middle of: the prompt takes about half a second and each token 20 ms.
SETTINGS = {
    "TIERMESH_RUNNER_SIMULATED_PREFILL_SPEED": "20",
    "TIERMESH_RUNNER_SIMULATED_SPEED": "50",
    "TIERMESH_BILLING_HOLD_TTL_SECONDS": "3",
    "TIERMESH_BILLING_SWEEP_SECONDS": "0.5",
    "TIERMESH_EDGE_UNPAID_PER_MINUTE": "100000",
}
QUESTION = "Tell me about the bridge over the river"
PROMPT: Any = [{"role": "user", "content": QUESTION}]
BODY: Mapping[str, Any] = {"model": "tiermesh-pro", "messages": PROMPT, "max_tokens": 5}
# Else each client of HTTPX would load all certificates, which takes longer than most requests.
NO_TLS = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
STATES = ("CLAIMED", "SENT", "FAILED", "RELEASED")


class Shop:
    """A chain, a mesh and payments in processes of their own."""

    # Who is paid, and who pays for gas.
    treasury = TREASURY
    relayer_key = RELAYER_KEY

    def __init__(self, directory: Path, host: Shop | None = None) -> None:
        """With a `host`, it is on the chain and in the mesh of that one."""
        self.chain: Chain = host.chain if host else Chain(chain_id=CHAIN_ID)
        self._directory = directory
        # The wallets whose edges were killed: claims last as long as their authorizations, and move nothing.
        self.orphans: set[str] = set()
        self.payments_address = free_address()
        environ = {**SETTINGS, "TIERMESH_EDGE_PAYMENTS_ADDRESSES": self.payments_address}
        self.mesh: LocalMesh = host.mesh if host else LocalMesh(directory, environ=environ)

    async def start(self) -> None:
        """Returns once a wallet can pay."""
        await self.chain.start()
        self.token = _token_at(self.chain, TOKEN)
        self.chain.rpc("anvil_setBalance", GasKey(self.relayer_key).address, hex(10**19))
        self.chain.mine(2)
        # What wallets need is killed dozens of times.
        import_services()
        await self.mesh.start()
        self.payments = ForkedServiceProcess("payments", self._directory, self.payments_settings())
        await self.payments.start()
        await eventually(self.asks_for_payment)

    async def stop(self) -> None:
        """Ends everything."""
        await self.payments.kill()
        print(self.payments.log()[-4000:])  # noqa: T201 - pytest shows it for tests that failed
        await self.mesh.stop()
        self.chain.stop()

    @property
    def base_url(self) -> str:
        """For OpenAI's clients, with /v1."""
        return self.mesh.base_url

    @property
    def billing_address(self) -> str:
        """Where billing listens."""
        return self.mesh.addresses["billing"]

    def audit(self) -> Any:
        """Audits the whole ledger, and returns what the command says of it."""
        return self.mesh.command_now("ledger", "audit")

    def taken(self) -> int:
        """Returns what the treasury has received, in smallest units."""
        return self.token.balance(self.treasury)

    async def post(
        self, headers: Mapping[str, str] | None = None, path: str = "chat/completions", **changes: Any
    ) -> httpx.Response:
        """Sends the usual request with changes."""
        async with httpx.AsyncClient(verify=NO_TLS, timeout=stretched(30)) as http:
            return await http.post(f"{self.base_url}/{path}", json={**BODY, **changes}, headers=headers or {})

    async def receipt(self, answer: httpx.Response) -> ReceiptClaims:
        """Returns what the genuine receipt of an answer says, whole or streamed."""
        async with httpx.AsyncClient(verify=NO_TLS, timeout=stretched(30)) as http:
            keys = await http.get(self.base_url.removesuffix("/v1") + "/.well-known/jwks.json")
        token = answer.headers.get("x-tiermesh-receipt") or find_token(answer.content)
        return verify(token, read_public_keys(keys.content))

    async def first_word(self) -> str:
        """Returns the first word of every answer; with it as a stop string, answers are empty."""
        answer = await self.post({"Authorization": f"Bearer {self.mesh.unlimited_key}"})
        return str(answer.json()["choices"][0]["message"]["content"].split()[0])

    async def payments_in(self, state: str) -> Sequence[payments_pb2.WalletPayment]:
        """Returns the payments in a state; of the settled ones, those that are not known to be final."""
        async with channel_opener(TlsSettings())(self.billing_address) as channel:
            stub = payments_grpc.WalletPaymentServiceStub(channel)
            value = payments_pb2.WalletPaymentState.Value(f"WALLET_PAYMENT_STATE_{state}")
            asked = payments_pb2.ListWalletPaymentsRequest(state=value, page_size=1000)
            return (await call_unary(stub.ListWalletPayments(asked))).payments

    async def count(self) -> dict[str, int]:
        """Returns how many payments there are in each state but settled."""
        return {state.lower(): len(await self.payments_in(state)) for state in STATES}

    async def deposited(self) -> int:
        """Returns what wallets have paid, as billing knows it, in smallest units."""
        async with channel_opener(TlsSettings())(self.billing_address) as channel:
            stub = deposits_pb2_grpc.DepositServiceStub(channel)
            found = await call_unary(stub.ListDeposits(deposits_pb2.ListDepositsRequest(page_size=1000)))
        return sum(each.deposit.atomic for each in found.deposits if each.deposit.address == self.treasury)

    async def balance(self, account_id: str) -> tuple[int, int]:
        """Returns the available and the held credits of a wallet."""
        async with BillingClient(self.billing_address) as client:
            return await client.balance(account_id)

    async def agrees(self) -> None:
        """Waits until no payment is on its way, and compares books and chain to the last unit."""

        async def at_rest() -> bool:
            claims = [each for each in await self.payments_in("CLAIMED") if each.payer not in self.orphans]
            return not claims and not await self.payments_in("SENT")

        await eventually(at_rest)
        assert self.audit()["violations"] == []
        assert await self.deposited() == self.taken()

    async def asks_for_payment(self) -> bool:
        """Whether the edge knows the terms."""
        return (await self.post()).status_code == 402

    def payments_settings(self) -> dict[str, str]:
        """Returns the settings of payments."""
        return {
            "listen": self.payments_address,
            "billing_addresses": self.billing_address,
            "rpc_url": self.chain.url,
            "chain_id": str(CHAIN_ID),
            "token": TOKEN,
            "token_name": TOKEN_NAME,
            "xpub": XPUB,
            "x402_pay_to": self.treasury,
            "relayer_key": self.relayer_key,
            "receipt_poll_seconds": "0.05",
            "reconcile_seconds": "0.2",
        }


class Wallet:
    """A key with dollars, and what the official clients make of it."""

    def __init__(self, shop: Shop, dollars: int = 100) -> None:
        self.shop = shop
        self.key = Account.create()
        self.address: str = self.key.address
        self.account_id = f"wallet:eip155:{CHAIN_ID}:{self.address.lower()}"
        if dollars:
            shop.token.mint(self.address, dollars * 100 * CREDIT)

    @property
    def private_key(self) -> str:
        """Its key, as libraries for Node take it."""
        return "0x" + bytes(self.key.key).hex()

    def client(self, **options: Any) -> openai.AsyncOpenAI:
        """Returns OpenAI's client over the official paying transport."""
        base_url = self.shop.base_url
        return openai.AsyncOpenAI(
            **{"base_url": base_url, "api_key": "x402", "max_retries": 0, "http_client": self.http(), **options}
        )

    def http(self) -> httpx.AsyncClient:
        """Returns HTTPX's client over the official paying transport."""
        transport = x402AsyncTransport(self._payer(), httpx.AsyncHTTPTransport(verify=NO_TLS))
        return httpx.AsyncClient(transport=transport, timeout=stretched(60))

    async def payment(self, **changes: Any) -> dict[str, str]:
        """Returns the header that pays for the usual request with changes, as the official client makes it."""
        unpaid = await self.shop.post(**changes)
        assert unpaid.status_code == 402, unpaid.text
        paying = self._payer()
        client = x402HTTPClient(paying)
        asked = client.get_payment_required_response(unpaid.headers.get, unpaid.json())
        headers: dict[str, str] = client.encode_payment_signature_header(await paying.create_payment_payload(asked))
        return headers

    async def balance(self) -> tuple[int, int]:
        """Returns the wallet's available and held credits."""
        return await self.shop.balance(self.account_id)

    def _payer(self) -> Any:
        return register_exact_evm_client(x402Client(), EthAccountSigner(self.key))


def is_whole(answer: str) -> bool:
    """Whether a client has all of a stream: only its receipt comes after the end."""
    return covered(answer.encode()).rstrip().endswith(b"[DONE]")


def decoded(header: str) -> Any:
    """Returns what a header of the protocol holds."""
    return json.loads(base64.b64decode(header))


def encoded(value: object) -> str:
    """Returns a value as headers of the protocol hold it."""
    return base64.b64encode(json.dumps(value).encode()).decode()


def transfer_call(payload: dict[str, Any]) -> str:
    """Returns the call that settles a payment, as anybody can make it."""
    given, signature = payload["authorization"], payload["signature"].removeprefix("0x")
    words = [int(given["from"], 16), int(given["to"], 16)]
    words += [int(given[name]) for name in ("value", "validAfter", "validBefore")]
    words += [int(given["nonce"], 16), int(signature[128:], 16), int(signature[:64], 16), int(signature[64:128], 16)]
    return "0xe3ee160e" + "".join(f"{word:064x}" for word in words)


def start_shop(directory: Path) -> Shop:
    """Returns a shop that serves, for a fixture of any scope."""
    shop = Shop(directory)
    asyncio.run(shop.start())
    return shop


def _token_at(chain: Chain, address: str) -> TokenContract:
    """Puts the token at an address, with its name and symbol, which are short strings in the first two slots."""
    token = TokenContract(chain)
    chain.rpc("anvil_setCode", address, chain.rpc("eth_getCode", token.address, "latest"))
    for slot in range(2):
        text = chain.rpc("eth_getStorageAt", token.address, hex(slot), "latest")
        chain.rpc("anvil_setStorageAt", address, f"0x{slot:064x}", text)
    token.address = address
    token.mint(chain.accounts[0], 10**17)
    return token
