"""`python -m services.billing` runs the billing service."""

from __future__ import annotations

import asyncio

from services.billing.accounts import Accounts
from services.billing.committer import Committer
from services.billing.ledger.prices import Prices
from services.billing.observer import Observer
from services.billing.service import SERVICE_NAME, BillingService
from services.billing.settings import BillingSettings
from services.billing.store.store import MIGRATIONS, LedgerStore
from services.billing.sweeper import Sweeper
from services.billing.transact_stream import transact_server
from services.common.build_info import tell_build
from services.common.catalog_file import CatalogFile
from services.common.clock import system_clock
from services.common.database.base import Database
from services.common.process import run_service
from services.common.rpc.server import GrpcServer
from services.common.settings import load_settings
from services.common.stopping import unless_stopped
from services.common.telemetry.admin import AdminServer
from services.common.telemetry.logs import configure_logs
from services.common.telemetry.tracing import close_tracing, open_tracing
from tiermesh.billing.v1.billing_pb2_grpc import add_BillingServiceServicer_to_server


async def serve(stop: asyncio.Event) -> None:
    """Serves until `stop` is set, then finishes what waits."""
    settings = load_settings(BillingSettings, "billing")
    configure_logs("billing", format=settings.log_format, level=settings.log_level)
    tell_build("billing")
    catalog_file = CatalogFile(settings.catalog_file)
    serving = asyncio.Event()
    admin = AdminServer(settings.admin_listen, ready=lambda: serving.is_set() and not stop.is_set())
    await admin.start()
    database = Database(settings.database_url)
    if await unless_stopped(database.open(migrations=MIGRATIONS), stop):
        await _serve_ledger(settings, LedgerStore(database), catalog_file, serving, stop)
    await database.close()
    await admin.stop()


async def _serve_ledger(
    settings: BillingSettings,
    store: LedgerStore,
    catalog_file: CatalogFile,
    serving: asyncio.Event,
    stop: asyncio.Event,
) -> None:
    committer = Committer(store.commit, system_clock, max_waiting=settings.max_waiting, max_batch=settings.max_batch)
    sweeper = Sweeper(store, committer, system_clock, ttl=settings.hold_ttl_seconds)
    observer = Observer(store, system_clock, hold_ttl=settings.hold_ttl_seconds)
    tracing = open_tracing(settings, "billing")
    transact = transact_server(committer, Prices(catalog_file.catalog), tracing)
    grpc_server = GrpcServer(settings.listen, settings.tls, catalog_file.catalog)
    service = BillingService(Accounts(committer, store.balance), store, transact)
    add_BillingServiceServicer_to_server(service, grpc_server.server)
    await grpc_server.start([SERVICE_NAME])
    committing = asyncio.create_task(committer.run())
    sweeping = asyncio.create_task(sweeper.run(settings.sweep_seconds))
    following = [
        asyncio.create_task(work)
        for work in (catalog_file.follow(), observer.follow_holds(), observer.follow_audits(settings.audit_seconds))
    ]
    serving.set()
    await stop.wait()
    sweeping.cancel()
    await grpc_server.stop([transact, committer], settings.drain_seconds)
    for task in (committing, *following):
        task.cancel()
    await asyncio.gather(committing, sweeping, *following, return_exceptions=True)
    await close_tracing(tracing)


if __name__ == "__main__":
    run_service(serve)
