"""The settings of payments: `TIERMESH_PAYMENTS_<FIELD>`."""

from __future__ import annotations

import re
from typing import Annotated

import msgspec

from services.common.settings import GrpcServiceSettings, SettingsError
from services.payments.chain.names import name_of_chain

_ADDRESS = re.compile("0x[0-9a-fA-F]{40}")


class PaymentsSettings(GrpcServiceSettings, frozen=True, kw_only=True):
    """The settings of one payments process."""

    # Where the service listens, host:port.
    listen: str = "127.0.0.1:7105"
    # The callers that payments accepts under mutual TLS, as for every service.
    tls_client_names: str = "console,operator,edge"
    # Comma-separated addresses of billing's replicas, host:port each. `dns:host:port` stands for every address of the
    # name, looked up again every few seconds.
    billing_addresses: str = "127.0.0.1:7102"
    # The URL of a node of the chain, for JSON-RPC over HTTP. It may contain a key and appears in no log.
    rpc_url: str = ""
    # The URL of the node that the second watcher asks, which should be another provider's. If it is empty, the second
    # watcher asks the first node.
    second_rpc_url: str = ""
    # The number of the chain (EIP-155), such as 8453 for Base.
    chain_id: Annotated[int, msgspec.Meta(ge=0)] = 0
    # What people call the chain, on the page that tells them where to deposit. If it is empty, this is the usual name
    # of the chain with this number.
    chain_name: str = ""
    # The address of the token's contract. The token must be worth a dollar and have six decimals.
    token: str = ""
    # The name of the token, as its contract tells it: payments does not start if it differs.
    token_name: str = "USD Coin"  # noqa: S105 - it is no secret.
    # The extended public key (xpub) that deposit addresses are derived from, such as that of m/44'/60'/0'/0. Anyone who
    # has its private key can move what was deposited. This service must not have it.
    xpub: str = ""
    # The first block that is read; 0 is the last final block at the first start. It counts only while the watchers have
    # read nothing yet.
    start_block: Annotated[int, msgspec.Meta(ge=0)] = 0
    # How many blocks a watcher asks for at once. It asks for fewer after an error.
    most_blocks: Annotated[int, msgspec.Meta(ge=1, le=100_000)] = 500
    # How often the first watcher looks for final blocks. Unit: seconds.
    poll_seconds: Annotated[float, msgspec.Meta(gt=0)] = 5.0
    # How often the second watcher does. Unit: seconds.
    second_poll_seconds: Annotated[float, msgspec.Meta(gt=0)] = 60.0
    # How old a block is when the second watcher reads it. Unit: seconds.
    second_delay_seconds: Annotated[float, msgspec.Meta(ge=0)] = 3600.0
    # How often in a minute the first node is asked for deposits that are not final yet, for all people who look at
    # theirs. An answer serves for a few seconds. With 0, nobody sees them before they are credited.
    pending_reads_per_minute: Annotated[int, msgspec.Meta(ge=0)] = 120
    # How long a node may take to answer. Unit: seconds.
    rpc_timeout: Annotated[float, msgspec.Meta(gt=0)] = 30.0
    # The address that wallets pay for single requests (x402). It must not be the deposit address of an account. If it
    # is empty, wallets cannot pay for requests.
    x402_pay_to: str = ""
    # The private key that pays the gas for such payments: 0x and 64 hexadecimal digits. Use a key that owns nothing
    # else. It cannot move what others own.
    relayer_key: str = ""
    # The URL of a facilitator that sends such payments to the chain, in place of a key for gas: it speaks the HTTP
    # interface of x402 version 2, and this is its part before /verify and /settle.
    facilitator_url: str = ""
    # What the facilitator wants in the header Authorization. It is a secret. If it is empty, there is no such header.
    facilitator_authorization: str = ""
    # How long the facilitator may take to answer. Unit: seconds.
    facilitator_timeout: Annotated[float, msgspec.Meta(gt=0)] = 30.0
    # The most gas that settling one payment may take. Unit: gas.
    relayer_gas: Annotated[int, msgspec.Meta(ge=21_000)] = 150_000
    # The version of the token, by which wallets sign: payments does not start if the contract has another one.
    token_version: str = "2"  # noqa: S105 - it is no secret.
    # How long the terms ask a payment to be valid. An answer that is sent whole must be generated within this time.
    # Unit: seconds.
    x402_valid_seconds: Annotated[int, msgspec.Meta(ge=60, le=43_200)] = 1200
    # How long a payment must be valid when it arrives. Unit: seconds.
    x402_least_seconds: Annotated[float, msgspec.Meta(ge=0)] = 30.0
    # How often the relayer looks for the receipt of a transaction. Unit: seconds.
    receipt_poll_seconds: Annotated[float, msgspec.Meta(gt=0)] = 0.5
    # How often payments looks after those that nobody asks for. Unit: seconds.
    reconcile_seconds: Annotated[float, msgspec.Meta(gt=0)] = 15.0
    # How long billing may take to answer. Unit: seconds.
    call_timeout: Annotated[float, msgspec.Meta(gt=0)] = 30.0

    @property
    def name_of_chain(self) -> str:
        """What people call the chain."""
        return self.chain_name or name_of_chain(self.chain_id)

    def __post_init__(self) -> None:
        """Checks what has no default that could work."""
        if not (self.rpc_url and self.chain_id and self.token and self.xpub):
            raise SettingsError("set RPC_URL, CHAIN_ID, TOKEN and XPUB: payments cannot guess them")
        if not _ADDRESS.fullmatch(self.token):
            raise SettingsError("TOKEN must be the address of a contract: 0x and 40 hexadecimal digits")
        if self.x402_pay_to and not _ADDRESS.fullmatch(self.x402_pay_to):
            raise SettingsError("X402_PAY_TO must be an address: 0x and 40 hexadecimal digits")
        if self.relayer_key and self.facilitator_url:
            raise SettingsError("set RELAYER_KEY or FACILITATOR_URL and not both: one of them sends payments")
        if bool(self.x402_pay_to) != bool(self.relayer_key or self.facilitator_url):
            raise SettingsError("set X402_PAY_TO together with RELAYER_KEY or FACILITATOR_URL: one needs the other")
