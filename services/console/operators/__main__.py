"""Starts the operators' console: `python -m services.console.operators`."""

from __future__ import annotations

import asyncio
import time
from functools import partial

from services.common.clock import system_clock
from services.common.http.attempt_limits import AttemptLimits, client_address
from services.common.lifecycle.lifespan import Lifespan
from services.common.lifecycle.process import run_service
from services.common.rpc.channels import channel_opener
from services.common.rpc.discovery import Discovery, first_addresses
from services.common.rpc.replicas import (
    auth_replicas,
    billing_replicas,
    deposit_replicas,
    operator_replicas,
    router_replicas,
)
from services.common.settings import load_settings, split_list
from services.console.application import Application
from services.console.error_pages import ErrorPages
from services.console.freshness import Freshness
from services.console.http.origin import served_at
from services.console.http.server import HttpServer
from services.console.operators.actions import Actions
from services.console.operators.mesh import OperatorMesh
from services.console.operators.pages.account import Account
from services.console.operators.pages.accounts import Accounts
from services.console.operators.pages.catalog import Catalog
from services.console.operators.pages.money import Money
from services.console.operators.pages.overview import Overview
from services.console.operators.pages.record import ACTIONS, Record
from services.console.operators.pages.runners import Runners
from services.console.operators.replicas import Examiner
from services.console.operators.sessions import OperatorSessions
from services.console.operators.settings import OperatorConsoleSettings
from services.console.page import Pages
from services.console.pages.sign_in import SignIn
from services.console.rendering import Renderer

# The pages that operators choose from.
MENU = (
    ("/", "Overview"),
    ("/accounts", "Accounts"),
    ("/runners", "Runners"),
    ("/money", "Money"),
    ("/catalog", "Catalog"),
    ("/record", "Record"),
)


async def serve(stop: asyncio.Event) -> None:
    """Serves until `stop` is set, then finishes the requests in flight."""
    settings = load_settings(OperatorConsoleSettings, "operator_console")
    async with Lifespan("operator_console", settings, stop) as lifespan:
        await _serve_pages(settings, lifespan)


async def _serve_pages(settings: OperatorConsoleSettings, lifespan: Lifespan) -> None:
    origin = served_at(settings.public_url, settings.listen)
    discovery = Discovery()
    mesh, examiner = _open_mesh(settings, lifespan, discovery)
    renderer = Renderer(MENU, "operators", action_names=ACTIONS, grafana_url=settings.grafana_url)
    sessions = OperatorSessions(mesh.operators, origin)
    actions = Actions(mesh.operators, Freshness(settings.fresh_seconds, system_clock, form_seconds=0))
    address = partial(client_address, trusted_proxies=settings.trusted_proxies)
    attempts = AttemptLimits(settings.sign_ins_per_minute, 60.0, "sign in", time.monotonic)
    served: list[Pages] = [
        SignIn(renderer, sessions, attempts, address, with_sign_up=False, relying_party=None),
        Overview(renderer, mesh),
        Accounts(renderer, mesh, actions),
        Account(renderer, mesh, actions, system_clock),
        Runners(renderer, mesh, actions),
        Money(renderer, mesh, actions),
        Catalog(renderer, mesh, examiner),
        Record(renderer, mesh),
    ]
    application = Application(
        [page for each in served for page in each.pages()],
        sessions,
        ErrorPages(renderer),
        origin,
        # An audit may take longer than any other page, and is recorded before and after.
        request_timeout=max(settings.request_timeout, settings.audit_timeout + 2 * settings.call_timeout),
        body_seconds=settings.body_seconds,
        monotonic=time.monotonic,
    )
    http = HttpServer(settings.listen, application.build(), lifespan.drain_seconds, head_seconds=settings.head_seconds)
    await lifespan.start_admin()
    lifespan.run_in_background("discovery", discovery.run())
    await http.start()

    await lifespan.serve()
    await http.stop()


def _open_mesh(
    settings: OperatorConsoleSettings, lifespan: Lifespan, discovery: Discovery
) -> tuple[OperatorMesh, Examiner]:
    """Returns clients of the other services, which are closed at the end and follow their addresses."""
    open_channel = partial(channel_opener, settings.tls)
    auths, billings, routers = (
        split_list(entries)
        for entries in (settings.auth_addresses, settings.billing_addresses, settings.router_addresses)
    )
    to_auth, to_billing = (
        (first_addresses(auths), open_channel("auth")),
        (first_addresses(billings), open_channel("billing")),
    )
    auth = auth_replicas(*to_auth, settings.call_timeout)
    operators = operator_replicas(*to_auth, settings.call_timeout)
    billing = billing_replicas(*to_billing, settings.call_timeout)
    audits = billing_replicas(*to_billing, settings.audit_timeout)
    deposits = deposit_replicas(*to_billing, settings.call_timeout)
    router = router_replicas(first_addresses(routers), open_channel("router"), settings.call_timeout)
    discovery.follow(auths, auth.set_addresses, operators.set_addresses)
    discovery.follow(billings, billing.set_addresses, audits.set_addresses, deposits.set_addresses)
    discovery.follow(routers, router.set_addresses)
    for close in (auth.close, operators.close, billing.close, audits.close, deposits.close, router.close):
        lifespan.close_at_end(close)
    examined = {
        "auth": (lambda: auth.addresses, open_channel("auth")),
        "billing": (lambda: billing.addresses, open_channel("billing")),
        "router": (lambda: router.addresses, open_channel("router")),
    }
    mesh = OperatorMesh(lifespan.catalog, auth, operators, billing, audits, deposits, router, system_clock)
    return mesh, Examiner(examined, settings.call_timeout)


if __name__ == "__main__":
    run_service(serve)
