"""`python -m services.auth` runs the auth service."""

from __future__ import annotations

import asyncio

from services.auth.accounts import Accounts
from services.auth.authenticate_stream import Authenticator, authenticate_server
from services.auth.changes import ChangeFollower
from services.auth.issuing.bounds import KeyBounds
from services.auth.issuing.issuer import KeyIssuer
from services.auth.key_cache import KeyCache
from services.auth.last_used import LastUsed
from services.auth.metrics import KEYS, STALENESS
from services.auth.pruning import Pruner
from services.auth.rate_limits.choice import open_limiter
from services.auth.service import SERVICE_NAME, AuthService
from services.auth.settings import AuthSettings
from services.auth.store.store import MIGRATIONS, AuthStore
from services.common.build_info import tell_build
from services.common.catalog_file import CatalogFile
from services.common.database.base import Database
from services.common.process import run_service
from services.common.rpc.server import GrpcServer
from services.common.settings import load_settings
from services.common.stopping import unless_stopped
from services.common.telemetry.admin import AdminServer
from services.common.telemetry.logs import configure_logs
from services.common.telemetry.tracing import close_tracing, open_tracing
from tiermesh.auth.v1.auth_pb2_grpc import add_AuthServiceServicer_to_server


async def serve(stop: asyncio.Event) -> None:
    """Serves until `stop` is set, then drains and writes what is still in memory."""
    settings = load_settings(AuthSettings, "auth")
    configure_logs("auth", format=settings.log_format, level=settings.log_level)
    tell_build("auth")
    database = Database(settings.database_url)
    store = AuthStore(database)
    keys = KeyCache()
    follower = ChangeFollower(store, keys, interval=settings.change_poll_seconds, max_stale=settings.max_stale_seconds)
    serving = asyncio.Event()
    admin = AdminServer(settings.admin_listen, ready=lambda: serving.is_set() and follower.fresh and not stop.is_set())
    await admin.start()
    if await unless_stopped(database.open(migrations=MIGRATIONS), stop):
        await _serve_keys(settings, store, keys, follower, serving=serving, stop=stop)
    await database.close()
    await admin.stop()


async def _serve_keys(
    settings: AuthSettings,
    store: AuthStore,
    keys: KeyCache,
    follower: ChangeFollower,
    *,
    serving: asyncio.Event,
    stop: asyncio.Event,
) -> None:
    await follower.load()
    KEYS.set_function(lambda: len(keys))
    STALENESS.set_function(lambda: follower.staleness)
    last_used = LastUsed(store, settings.last_used_seconds)
    limiter = open_limiter(settings.rate_limit_url)
    tracing = open_tracing(settings, "auth")
    authenticate = authenticate_server(Authenticator(keys, last_used), limiter, lambda: follower.fresh, tracing)
    catalog_file = CatalogFile(settings.catalog_file)
    issuer = KeyIssuer(
        store,
        keys.put,
        catalog_file.catalog,
        prefix=settings.key_prefix,
        default_requests_per_minute=settings.default_requests_per_minute,
        bounds=KeyBounds(settings.max_keys_per_account, settings.max_dead_keys_per_account),
    )
    pruner = Pruner(store, keys, settings.dead_key_retention_seconds)
    grpc_server = GrpcServer(settings.listen, settings.tls, catalog_file.catalog)
    service = AuthService(Accounts(store), issuer, authenticate, lambda: follower.fresh)
    add_AuthServiceServicer_to_server(service, grpc_server.server)
    await grpc_server.start([SERVICE_NAME])
    loops = (last_used.run(), follower.run(), catalog_file.follow(), pruner.run())
    background = [asyncio.create_task(work) for work in loops]
    serving.set()
    await stop.wait()
    await grpc_server.stop([authenticate], settings.drain_seconds)
    for task in background:
        task.cancel()
    await issuer.drain(settings.drain_seconds)
    await last_used.drain(settings.drain_seconds)
    await asyncio.gather(*background, return_exceptions=True)
    await limiter.close()
    await close_tracing(tracing)


if __name__ == "__main__":
    run_service(serve)
