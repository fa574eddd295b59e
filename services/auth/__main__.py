"""`python -m services.auth` runs the auth service."""

from __future__ import annotations

import asyncio
import gc

from services.auth.accounts import Accounts
from services.auth.authenticate_stream import Authenticator, authenticate_server
from services.auth.changes import ChangeFollower
from services.auth.closing.closing import Closing
from services.auth.issuing.bounds import KeyBounds
from services.auth.issuing.issuer import KeyIssuer
from services.auth.key_cache import KeyCache, KeyLookup
from services.auth.last_used import LastUsed
from services.auth.metrics import KEYS, STALENESS
from services.auth.operators.actions import ActionRecord
from services.auth.operators.operators import Operators
from services.auth.operators.service import SERVICE_NAME as OPERATOR_SERVICE_NAME
from services.auth.operators.service import OperatorService
from services.auth.operators.sessions import OperatorSessions
from services.auth.pruning import Pruner
from services.auth.rate_limits.choice import open_limiter
from services.auth.service import LIMITED_CALLERS, SERVICE_NAME, AuthService
from services.auth.sessions.session_keys import KeyTerms, SessionKeys
from services.auth.sessions.sessions import SessionLimits, Sessions
from services.auth.settings import AuthSettings
from services.auth.sign_in.challenge import Challenges
from services.auth.sign_in.choice import open_passkeys, open_wallets
from services.auth.sign_in.enrolment import Enrolment
from services.auth.sign_in.recovery_code import RecoveryCodes
from services.auth.sign_in.service import SERVICE_NAME as SIGN_IN_SERVICE_NAME
from services.auth.sign_in.service import SignInService
from services.auth.store.closing import ClosingStore
from services.auth.store.operators import OperatorStore
from services.auth.store.session_keys import SessionKeyStore
from services.auth.store.sessions import SessionStore
from services.auth.store.sign_in_methods import SignInMethodStore
from services.auth.store.store import MIGRATIONS, AuthStore
from services.common.database.base import Database
from services.common.lifecycle.lifespan import Lifespan
from services.common.lifecycle.process import run_service
from services.common.lifecycle.stopping import unless_stopped
from services.common.rpc.server import GrpcServer
from services.common.settings import load_settings
from tiermesh.auth.v1.auth_pb2_grpc import add_AuthServiceServicer_to_server
from tiermesh.auth.v1.operators_pb2_grpc import add_OperatorServiceServicer_to_server
from tiermesh.auth.v1.sign_in_pb2_grpc import add_SignInServiceServicer_to_server


async def serve(stop: asyncio.Event) -> None:
    """Serves until `stop` is set, then drains and writes what is still in memory."""
    settings = load_settings(AuthSettings, "auth")
    async with Lifespan("auth", settings, stop) as lifespan:
        database = Database(settings.database_url)
        store, keys = AuthStore(database), KeyCache(settings.max_keys_in_memory)
        follower = ChangeFollower(
            store, keys, interval=settings.change_poll_seconds, max_stale=settings.max_stale_seconds
        )
        await lifespan.start_admin(ready=lambda: follower.fresh)
        lifespan.close_at_end(database.close)
        if await unless_stopped(database.open(migrations=MIGRATIONS), stop):
            await _serve_keys(settings, lifespan, database, store, keys, follower)


async def _serve_keys(
    settings: AuthSettings,
    lifespan: Lifespan,
    database: Database,
    store: AuthStore,
    keys: KeyCache,
    follower: ChangeFollower,
) -> None:
    # What is there by now stays. A collection that looked at all of it would hold everything up, loading too.
    gc.freeze()
    await follower.load()
    gc.collect()
    gc.freeze()
    KEYS.set_function(lambda: len(keys))
    STALENESS.set_function(lambda: follower.staleness)
    last_used = LastUsed(store, settings.last_used_seconds)
    limiter = open_limiter(settings.rate_limit_url)
    lifespan.close_at_end(limiter.close)
    authenticator = Authenticator(keys, KeyLookup(keys, store), last_used)
    authenticate = authenticate_server(authenticator, limiter, lambda: follower.fresh, lifespan.tracing)
    bounds = KeyBounds(settings.max_keys_per_account, settings.max_dead_keys_per_account)
    issuer = KeyIssuer(
        store,
        keys.put,
        lifespan.catalog,
        prefix=settings.key_prefix,
        default_requests_per_minute=settings.default_requests_per_minute,
        bounds=bounds,
    )
    limits = SessionLimits(settings.session_seconds, settings.session_idle_seconds, settings.max_sessions_per_account)
    sessions = Sessions(SessionStore(database), authenticator.authenticate, limits, on_change=keys.put)
    terms = KeyTerms(settings.key_prefix, settings.default_requests_per_minute, settings.session_key_credits)
    session_keys = SessionKeys(sessions, SessionKeyStore(database), keys.put, bounds, terms)
    methods = SignInMethodStore(database, store)
    signing_in = (Challenges(methods), sessions, Enrolment(store, issuer, sessions, last_used.note), last_used.note)
    passkeys, wallets = open_passkeys(methods, *signing_in), open_wallets(methods, *signing_in)
    pruner = Pruner(store, keys, settings.dead_key_retention_seconds)
    grpc_server = GrpcServer(settings.listen, settings.tls, lifespan.catalog, LIMITED_CALLERS)
    accounts = Accounts(store, keys.put)
    closing = Closing(ClosingStore(database), sessions, keys.put)
    service = AuthService(accounts, issuer, sessions, session_keys, closing, authenticate, lambda: follower.fresh)
    add_AuthServiceServicer_to_server(service, grpc_server.server)
    sign_in = SignInService(passkeys, wallets, RecoveryCodes(methods, issuer, sessions))
    add_SignInServiceServicer_to_server(sign_in, grpc_server.server)
    operators = _operators(settings, OperatorStore(database), limits)
    add_OperatorServiceServicer_to_server(operators, grpc_server.server)
    await grpc_server.start([SERVICE_NAME, SIGN_IN_SERVICE_NAME, OPERATOR_SERVICE_NAME])
    lifespan.run_in_background("last_used", last_used.run())
    lifespan.run_in_background("key_changes", follower.run())
    lifespan.run_in_background("pruning", pruner.run())

    await lifespan.serve()
    await grpc_server.stop([authenticate], lifespan.drain_seconds)
    await issuer.drain(lifespan.drain_seconds)
    await lifespan.end_background_tasks()
    await last_used.drain(lifespan.drain_seconds)


def _operators(settings: AuthSettings, store: OperatorStore, limits: SessionLimits) -> OperatorService:
    sessions = OperatorSessions(store, limits)
    return OperatorService(Operators(store, settings.key_prefix), sessions, ActionRecord(store, sessions))


if __name__ == "__main__":
    run_service(serve)
