"""Starts the console: `python -m services.console`."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from functools import partial

from aiohttp import web

from services.common.clock import system_clock
from services.common.http.attempt_limits import AttemptLimits, client_address
from services.common.lifecycle.lifespan import Lifespan
from services.common.lifecycle.process import run_service
from services.common.rpc.channels import channel_opener
from services.common.rpc.discovery import Discovery, first_addresses
from services.common.rpc.replicas import (
    SignInReplicas,
    auth_replicas,
    billing_replicas,
    deposit_replicas,
    payments_replicas,
    router_replicas,
    sign_in_replicas,
)
from services.common.settings import load_settings, split_list
from services.console.application import Application
from services.console.closing.close_account import CloseAccount
from services.console.error_pages import ErrorPages
from services.console.freshness import Freshness
from services.console.http.origin import served_at
from services.console.http.server import HttpServer
from services.console.mesh import Mesh
from services.console.page import Pages
from services.console.pages.account import Account
from services.console.pages.keys import Keys
from services.console.pages.made_key import MadeKey
from services.console.pages.method_sign_up import MethodSignUp
from services.console.pages.models import Models
from services.console.pages.new_key import NewKey
from services.console.pages.overview import Overview
from services.console.pages.playground import Playground
from services.console.pages.receipts import Receipts
from services.console.pages.recovery import Recovery
from services.console.pages.sign_in import SignIn
from services.console.pages.sign_in_methods import SignInMethodPages
from services.console.pages.sign_up import Registration, SignUp
from services.console.pages.usage import Usage
from services.console.playground.edge import Edge
from services.console.rendering import Renderer
from services.console.sessions import Sessions
from services.console.settings import ConsoleSettings
from services.console.sign_in.method import SignInMethod
from services.console.sign_in.methods import SignInMethods
from services.console.sign_in.passkey_method import PasskeyMethod
from services.console.sign_in.relying_party import RelyingParty, relying_party
from services.console.sign_in.wallet_method import WalletMethod, why_no_wallets
from services.console.sign_in.welcome import Welcome
from services.console.signed_receipts.checking import INSTALLED, ReceiptCheck
from services.console.top_up.deposits import Deposits
from services.console.top_up.pages import TopUp
from services.console.visit import Visit

# The pages that owners choose from.
MENU = (
    ("/", "Overview"),
    ("/keys", "API keys"),
    ("/playground", "Playground"),
    ("/usage", "Usage"),
    ("/receipts", "Receipts"),
    ("/top-up", "Top up"),
    ("/models", "Models"),
    ("/account", "Account"),
)


async def serve(stop: asyncio.Event) -> None:
    """Serves until `stop` is set, then finishes the requests in flight."""
    settings = load_settings(ConsoleSettings, "console")
    async with Lifespan("console", settings, stop) as lifespan:
        await _serve_pages(settings, lifespan)


async def _serve_pages(settings: ConsoleSettings, lifespan: Lifespan) -> None:
    origin = served_at(settings.public_url, settings.listen)
    discovery = Discovery()
    mesh = _open_mesh(settings, lifespan, discovery)
    renderer = Renderer(MENU, why_no_wallets=why_no_wallets(settings.wallet_chain_id))
    sessions, party = Sessions(mesh.auth, origin), relying_party(origin, settings.passkey_domain)
    asked = _open_sign_in(settings, lifespan, discovery)
    methods, ways = SignInMethods(asked, party), _ways_in(settings, asked, party)
    edge = Edge(settings.edge_url, settings.call_timeout)
    lifespan.close_at_end(edge.close)
    freshness = Freshness(settings.fresh_seconds, system_clock)
    # For buttons on pages that anybody may open who is signed in.
    at_once = Freshness(settings.fresh_seconds, system_clock, form_seconds=0.0)
    made = MadeKey(renderer, lifespan.catalog, settings.api_url)
    address = partial(client_address, trusted_proxies=settings.trusted_proxies)
    attempts = AttemptLimits(settings.sign_ins_per_minute, 60.0, "sign in", time.monotonic)
    opens = settings.registration != "off"
    sign_in = SignIn(*(renderer, sessions, attempts, address), with_sign_up=opens, relying_party=party)
    account = Account(renderer, sessions, methods)
    welcome = Welcome(mesh, sessions, settings.registration_credits if opens else 0, system_clock)
    served: list[Pages] = [
        sign_in,
        Overview(renderer, mesh),
        NewKey(renderer, mesh, freshness, made, system_clock),
        Keys(renderer, mesh, freshness, made, system_clock),
        Usage(renderer, mesh, system_clock),
        Receipts(renderer, mesh, ReceiptCheck(edge) if INSTALLED else None),
        TopUp(renderer, _open_deposits(settings, lifespan, discovery)),
        Models(renderer, mesh),
        account,
        CloseAccount(renderer, mesh, sessions, at_once),
        Recovery(renderer, mesh, sessions, methods, at_once, sign_in),
        Playground(renderer, mesh, sessions, edge, settings.answer_timeout),
    ]
    for way in ways:
        options = AttemptLimits(settings.sign_ins_per_minute, 60.0, f"use a {way.name}", time.monotonic)
        count = partial(_count, options, address)
        served.append(SignInMethodPages(mesh, sessions, way, at_once, sign_in, account, welcome, count))
    if opens:
        registration = Registration(settings.registration_code, welcome)
        openings = AttemptLimits(settings.registrations_per_hour, 3600.0, "open an account", time.monotonic)
        sign_up = SignUp(renderer, mesh, registration, openings, address, party)
        served.append(sign_up)
        served += [MethodSignUp(sessions, way, sign_in, sign_up) for way in ways]
    application = Application(
        [page for each in served for page in each.pages()],
        sessions,
        ErrorPages(renderer),
        origin,
        request_timeout=settings.request_timeout,
        body_seconds=settings.body_seconds,
        monotonic=time.monotonic,
    )
    http = HttpServer(settings.listen, application.build(), lifespan.drain_seconds, head_seconds=settings.head_seconds)
    await lifespan.start_admin()
    lifespan.run_in_background("discovery", discovery.run())
    await http.start()

    await lifespan.serve()
    await http.stop()


def _count(limits: AttemptLimits, address: Callable[[web.Request], str], visit: Visit) -> None:
    limits.count(address(visit.request))


def _ways_in(settings: ConsoleSettings, asked: SignInReplicas, party: RelyingParty | None) -> list[SignInMethod]:
    """Returns what signs in beside API keys, as far as it is installed and turned on."""
    ways: list[SignInMethod] = []
    if party is not None:
        ways.append(PasskeyMethod(asked, party))
    if not why_no_wallets(settings.wallet_chain_id):
        ways.append(WalletMethod(asked, settings.wallet_chain_id))
    return ways


def _open_sign_in(settings: ConsoleSettings, lifespan: Lifespan, discovery: Discovery) -> SignInReplicas:
    """Returns a client of auth for passkeys, wallets and recovery codes, which follows its addresses too."""
    auths = split_list(settings.auth_addresses)
    opener = channel_opener(settings.tls, "auth")
    sign_in = sign_in_replicas(first_addresses(auths), opener, settings.call_timeout)
    discovery.follow(auths, sign_in.set_addresses)
    lifespan.close_at_end(sign_in.close)
    return sign_in


def _open_deposits(settings: ConsoleSettings, lifespan: Lifespan, discovery: Discovery) -> Deposits:
    """Returns clients of what concerns deposits; without PAYMENTS_ADDRESSES, there is none of payments."""
    billings, taking = split_list(settings.billing_addresses), split_list(settings.payments_addresses)
    opener = channel_opener(settings.tls, "billing")
    deposits = deposit_replicas(first_addresses(billings), opener, settings.call_timeout)
    billing = billing_replicas(first_addresses(billings), opener, settings.call_timeout)
    discovery.follow(billings, deposits.set_addresses, billing.set_addresses)
    lifespan.close_at_end(deposits.close)
    lifespan.close_at_end(billing.close)
    if not taking:
        return Deposits(None, deposits, billing)
    opener = channel_opener(settings.tls, "payments")
    payments = payments_replicas(first_addresses(taking), opener, settings.call_timeout)
    discovery.follow(taking, payments.set_addresses)
    lifespan.close_at_end(payments.close)
    return Deposits(payments, deposits, billing)


def _open_mesh(settings: ConsoleSettings, lifespan: Lifespan, discovery: Discovery) -> Mesh:
    """Returns clients of the other services, which are closed at the end and follow their addresses."""
    open_channel = partial(channel_opener, settings.tls)
    auths, billings, routers = (
        split_list(entries)
        for entries in (settings.auth_addresses, settings.billing_addresses, settings.router_addresses)
    )
    to_billing = first_addresses(billings), open_channel("billing")
    auth = auth_replicas(first_addresses(auths), open_channel("auth"), settings.call_timeout)
    billing = billing_replicas(*to_billing, settings.call_timeout)
    reports = billing_replicas(*to_billing, settings.report_timeout)
    router = router_replicas(first_addresses(routers), open_channel("router"), settings.call_timeout)
    discovery.follow(auths, auth.set_addresses)
    discovery.follow(billings, billing.set_addresses, reports.set_addresses)
    discovery.follow(routers, router.set_addresses)
    for close in (auth.close, billing.close, reports.close, router.close):
        lifespan.close_at_end(close)
    return Mesh(lifespan.catalog, auth, billing, reports, router, system_clock)


if __name__ == "__main__":
    run_service(serve)
