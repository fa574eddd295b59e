"""Puts x402 together from the settings."""

from __future__ import annotations

import time

from services.common.clock import system_clock
from services.common.ethereum.addresses import with_checksum
from services.common.lifecycle.lifespan import Lifespan
from services.common.retry.backoff import Backoff
from services.common.rpc.channels import channel_opener
from services.common.rpc.discovery import Discovery, first_addresses
from services.common.rpc.replicas import Replicas
from services.common.rpc.server import GrpcServer
from services.common.settings import SettingsError, split_list
from services.common.telemetry.logs import get_logger
from services.payments.chain.json_rpc import JsonRpc, RpcError
from services.payments.chain.settlement_node import SettlementNode
from services.payments.chain.transactions import GasKey
from services.payments.settings import PaymentsSettings
from services.payments.x402.authorization import AuthorizationCheck, domain_separator
from services.payments.x402.books import Books
from services.payments.x402.facilitator import NOBODY, Facilitator, FacilitatorClient, FacilitatorTerms
from services.payments.x402.reconciliation import Reconciliation
from services.payments.x402.relayer import Relayer
from services.payments.x402.service import X402_SERVICE_NAME, X402Service
from services.payments.x402.settlements import Sender, Settlements
from tiermesh.billing.v1 import wallet_payments_pb2_grpc
from tiermesh.payments.v1 import x402_pb2
from tiermesh.payments.v1.x402_pb2_grpc import add_X402ServiceServicer_to_server

log = get_logger()

_FIRST_PAUSE, _LONGEST_PAUSE = 0.5, 10.0


def add_x402(settings: PaymentsSettings, lifespan: Lifespan, server: GrpcServer) -> str:
    """Adds the service of payments by wallets to a server, and returns its name; raises SettingsError."""
    key = GasKey(settings.relayer_key) if settings.relayer_key else None
    gas_payer = key.address if key else NOBODY
    node = SettlementNode(JsonRpc(settings.rpc_url, settings.rpc_timeout), settings.token, gas_payer)
    lifespan.close_at_end(node.close)
    books = _books(settings, lifespan, gas_payer)
    sender: Sender
    verify = None
    if key is not None:
        sender = _relayer(settings, node, books, key)
    else:
        client = _facilitator(settings, lifespan)
        verify = client.verify
        sender = Facilitator(client, node, books, system_clock, poll_seconds=settings.receipt_poll_seconds)
    check = AuthorizationCheck(
        _domain(settings), settings.x402_pay_to, system_clock, least_seconds=settings.x402_least_seconds
    )
    settlements = Settlements(check, node, books, sender, settings.chain_id, verify)
    add_X402ServiceServicer_to_server(X402Service(settlements, _terms(settings)), server.server)
    reconciliation = Reconciliation(books, node, settlements, system_clock, pays_gas=key is not None)
    lifespan.run_in_background("reconciliation", reconciliation.follow(settings.reconcile_seconds))
    log.info("x402_on", relayer=key.address if key else "facilitator", pay_to=settings.x402_pay_to)
    return X402_SERVICE_NAME


def _relayer(settings: PaymentsSettings, node: SettlementNode, books: Books, key: GasKey) -> Relayer:
    return Relayer(
        node,
        books,
        key,
        time.monotonic,
        chain_id=settings.chain_id,
        token=settings.token,
        gas=settings.relayer_gas,
        poll_seconds=settings.receipt_poll_seconds,
    )


def _facilitator(settings: PaymentsSettings, lifespan: Lifespan) -> FacilitatorClient:
    terms = FacilitatorTerms(
        *(settings.chain_id, with_checksum(settings.token), settings.token_name, settings.token_version),
        *(with_checksum(settings.x402_pay_to), settings.x402_valid_seconds),
    )
    client = FacilitatorClient(
        settings.facilitator_url, settings.facilitator_authorization, settings.facilitator_timeout, terms
    )
    lifespan.close_at_end(client.close)
    return client


async def check_domain(settings: PaymentsSettings) -> None:
    """Returns once the token has confirmed by what it checks signatures; raises SettingsError if it is another."""
    node = SettlementNode(JsonRpc(settings.rpc_url, settings.rpc_timeout), settings.token, settings.x402_pay_to)
    try:
        await _check_domain(node, _domain(settings))
    finally:
        await node.close()


def _domain(settings: PaymentsSettings) -> bytes:
    return domain_separator(settings.token_name, settings.token_version, settings.chain_id, settings.token)


async def _check_domain(node: SettlementNode, domain: bytes) -> None:
    backoff = Backoff(_FIRST_PAUSE, _LONGEST_PAUSE)
    while True:
        try:
            if await node.domain() == "0x" + domain.hex():
                return
        except RpcError as error:
            log.warning("waiting_for_node", reason=str(error))
            await backoff.pause()
            continue
        raise SettingsError(
            "the token checks signatures by another name or version than the settings say, so that no payment would "
            "be valid. Correct TOKEN_NAME or TOKEN_VERSION"
        )


def _books(settings: PaymentsSettings, lifespan: Lifespan, relayer: str) -> Books:
    entries = split_list(settings.billing_addresses)
    open_channel = channel_opener(settings.tls, "billing")
    stub = wallet_payments_pb2_grpc.WalletPaymentServiceStub
    replicas: Replicas[wallet_payments_pb2_grpc.WalletPaymentServiceAsyncStub] = Replicas(
        "Billing", first_addresses(entries), open_channel, stub, settings.call_timeout
    )
    discovery = Discovery()
    discovery.follow(entries, replicas.set_addresses)
    lifespan.close_at_end(replicas.close)
    lifespan.run_in_background("x402_discovery", discovery.run())
    return Books(replicas, settings.chain_id, settings.token, relayer)


def _terms(settings: PaymentsSettings) -> x402_pb2.GetTermsResponse:
    return x402_pb2.GetTermsResponse(
        chain_id=settings.chain_id,
        token=with_checksum(settings.token),
        token_name=settings.token_name,
        token_version=settings.token_version,
        pay_to=with_checksum(settings.x402_pay_to),
        max_timeout_seconds=settings.x402_valid_seconds,
    )
