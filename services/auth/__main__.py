"""`python -m services.auth` runs the auth service."""

from __future__ import annotations

import asyncio

from services.auth.accounts import Accounts
from services.auth.authenticate_stream import authenticate_server
from services.auth.authentication import Authenticator
from services.auth.issuing import KeyIssuer
from services.auth.key_cache import KeyCache
from services.auth.last_used import LastUsed
from services.auth.metrics import KEYS
from services.auth.rate_limits import RateLimits
from services.auth.service import SERVICE_NAME, AuthService
from services.auth.settings import AuthSettings
from services.auth.store import MIGRATIONS, AuthStore
from services.common.admin import AdminServer
from services.common.database import Database
from services.common.grpc_server import GrpcServer
from services.common.logs import configure_logs
from services.common.process import run_service
from services.common.settings import load_settings
from services.common.stopping import unless_stopped
from tiermesh.auth.v1.auth_pb2_grpc import add_AuthServiceServicer_to_server


async def serve(stop: asyncio.Event) -> None:
    """Serves until `stop` is set, then drains and writes what is still in memory."""
    settings = load_settings(AuthSettings, "auth")
    configure_logs("auth", format=settings.log_format, level=settings.log_level)
    serving = asyncio.Event()
    admin = AdminServer(settings.admin_listen, ready=lambda: serving.is_set() and not stop.is_set())
    await admin.start()
    database = Database(settings.database_url)
    if await unless_stopped(database.open(migrations=MIGRATIONS), stop):
        await _serve_keys(settings, AuthStore(database), serving, stop)
    await database.close()
    await admin.stop()


async def _serve_keys(settings: AuthSettings, store: AuthStore, serving: asyncio.Event, stop: asyncio.Event) -> None:
    keys = KeyCache()
    keys.load(await store.list_keys())
    KEYS.set_function(lambda: len(keys))
    last_used = LastUsed(store, settings.last_used_seconds)
    authenticate = authenticate_server(Authenticator(keys, RateLimits(), last_used))
    issuer = KeyIssuer(
        store,
        keys.put,
        prefix=settings.key_prefix,
        default_requests_per_minute=settings.default_requests_per_minute,
    )
    grpc_server = GrpcServer(settings.listen, settings.tls)
    add_AuthServiceServicer_to_server(AuthService(Accounts(store), issuer, authenticate), grpc_server.server)
    await grpc_server.start([SERVICE_NAME])
    writing = asyncio.create_task(last_used.run())
    serving.set()
    await stop.wait()
    await grpc_server.stop([authenticate], settings.drain_seconds)
    writing.cancel()
    await issuer.drain(settings.drain_seconds)
    await last_used.drain(settings.drain_seconds)
    await asyncio.gather(writing, return_exceptions=True)


if __name__ == "__main__":
    run_service(serve)
