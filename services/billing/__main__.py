"""`python -m services.billing` runs the billing service."""

from __future__ import annotations

import asyncio

from services.billing.accounts import Accounts
from services.billing.committer import Committer
from services.billing.deposit_service import DEPOSIT_SERVICE_NAME, DepositService
from services.billing.deposits import Deposits
from services.billing.ledger.deposit_addresses import DepositAddresses
from services.billing.ledger.prices import Prices
from services.billing.observer import Observer
from services.billing.payouts.payouts import Payouts
from services.billing.payouts.service import PAYOUT_SERVICE_NAME, PayoutService
from services.billing.service import LIMITED_CALLERS, SERVICE_NAME, BillingService
from services.billing.settings import BillingSettings
from services.billing.store.deposit_history import DepositStore
from services.billing.store.payouts import PayoutStore
from services.billing.store.store import MIGRATIONS, LedgerStore
from services.billing.store.wallet_payments import WalletPaymentStore
from services.billing.sweeper import Sweeper
from services.billing.sweeps.service import SWEEP_SERVICE_NAME, SweepService
from services.billing.sweeps.store import SweepStore
from services.billing.sweeps.sweeps import Sweeps
from services.billing.transact_stream import transact_server
from services.billing.usage_backfill import UsageBackfill
from services.billing.wallet_payments.payments import WalletPayments
from services.billing.wallet_payments.service import WALLET_PAYMENT_SERVICE_NAME, WalletPaymentService
from services.common.clock import system_clock
from services.common.database.base import Database
from services.common.lifecycle.lifespan import Lifespan
from services.common.lifecycle.process import run_service
from services.common.lifecycle.stopping import unless_stopped
from services.common.rpc.server import GrpcServer
from services.common.settings import load_settings
from tiermesh.billing.v1.billing_pb2_grpc import add_BillingServiceServicer_to_server
from tiermesh.billing.v1.deposits_pb2_grpc import add_DepositServiceServicer_to_server
from tiermesh.billing.v1.payouts_pb2_grpc import add_PayoutServiceServicer_to_server
from tiermesh.billing.v1.sweeps_pb2_grpc import add_SweepServiceServicer_to_server
from tiermesh.billing.v1.wallet_payments_pb2_grpc import add_WalletPaymentServiceServicer_to_server

# Longer than replicas that work on the same account wait for one another. Who waits longer is set aside, so that one
# account that stays locked delays no other.
_LOCK_SECONDS = 0.25


async def serve(stop: asyncio.Event) -> None:
    """Serves until `stop` is set, then finishes what waits."""
    settings = load_settings(BillingSettings, "billing")
    async with Lifespan("billing", settings, stop) as lifespan:
        await lifespan.start_admin()
        database = Database(settings.database_url, lock_seconds=_LOCK_SECONDS)
        lifespan.close_at_end(database.close)
        if await unless_stopped(database.open(migrations=MIGRATIONS), stop):
            await _serve_ledger(settings, lifespan, database)


async def _serve_ledger(settings: BillingSettings, lifespan: Lifespan, database: Database) -> None:
    store, chains = LedgerStore(database), DepositStore(database)
    committer = Committer(store, system_clock, max_waiting=settings.max_waiting, max_batch=settings.max_batch)
    sweeper = Sweeper(store, committer, system_clock, ttl=settings.hold_ttl_seconds)
    observer = Observer(store, system_clock, hold_ttl=settings.hold_ttl_seconds)
    prices = Prices(lifespan.catalog)
    transact = transact_server(committer, prices, lifespan.tracing)
    grpc_server = GrpcServer(settings.listen, settings.tls, lifespan.catalog, LIMITED_CALLERS)
    service = BillingService(Accounts(committer, store.balance), store, transact)
    add_BillingServiceServicer_to_server(service, grpc_server.server)
    deposit_service = DepositService(Deposits(committer, chains), DepositAddresses(chains, system_clock))
    add_DepositServiceServicer_to_server(deposit_service, grpc_server.server)
    sweeps = Sweeps(SweepStore(database), system_clock)
    add_SweepServiceServicer_to_server(SweepService(sweeps), grpc_server.server)
    payments = WalletPayments(committer, WalletPaymentStore(database), prices, system_clock)
    add_WalletPaymentServiceServicer_to_server(WalletPaymentService(payments), grpc_server.server)
    payouts = Payouts(committer, PayoutStore(database))
    add_PayoutServiceServicer_to_server(PayoutService(payouts), grpc_server.server)
    names = [SERVICE_NAME, DEPOSIT_SERVICE_NAME, SWEEP_SERVICE_NAME, WALLET_PAYMENT_SERVICE_NAME, PAYOUT_SERVICE_NAME]
    await grpc_server.start(names)
    lifespan.run_in_background("committer", committer.run())
    sweeping = lifespan.run_in_background("sweeper", sweeper.run(settings.sweep_seconds))
    lifespan.run_in_background("open_holds", observer.follow_holds())
    lifespan.run_in_background("usage_backfill", UsageBackfill(store).run())
    if settings.audit_seconds:
        lifespan.run_in_background("audits", observer.follow_audits(settings.audit_seconds))
    if settings.full_audit_seconds:
        lifespan.run_in_background("full_audits", observer.follow_full_audits(settings.full_audit_seconds))

    await lifespan.serve()
    # Nothing new for the committer, which is drained.
    sweeping.cancel()
    await grpc_server.stop([transact, committer], lifespan.drain_seconds)


if __name__ == "__main__":
    run_service(serve)
