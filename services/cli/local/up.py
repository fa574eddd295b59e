"""Runs a whole mesh on this machine until it is told to stop."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable, Coroutine
from typing import Any

import click

from services.cli.chain.dollar import ensure_test_dollar, give_gas
from services.cli.chain.local_chain import LocalChain, own_key
from services.cli.chain.rpc import Rpc
from services.cli.invocation import program, state_option
from services.cli.local.account import LocalAccount, ensure_local_account
from services.cli.local.engines import added_by_run_all
from services.cli.local.greeting import ChainGreeting, Greeting
from services.cli.local.mesh import CHAIN
from services.cli.local.preparation import Plan
from services.cli.local.ready_file import ReadyFile
from services.cli.local.supervisor import Supervisor
from services.cli.local.terminal import say, show_log_line
from services.cli.management.clients import (
    auth_client,
    billing_client,
    operator_client,
    payments_client,
    router_client,
    wait_until_available,
)
from services.common.etcd import ROOT, EtcdClient
from services.common.rpc.channels import channel_opener
from tiermesh.payments.v1 import payments_pb2

# SIGHUP comes when the terminal is closed.
_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


# Generous: a cold start on a slow disk reads hundreds of megabytes of libraries and models.
_START_SECONDS = 180.0
# So fast is the slowest disk that models of the user's own are read from, in bytes per second.
_READING_SPEED = 30e6
# The exit status of a program that ended by Ctrl-C, as shells report it; an orderly end is 0.
_INTERRUPTED = 130


class Interrupts:
    """Sets `first` at the first signal and calls `on_second` at each later one."""

    def __init__(self, on_second: Callable[[], None]) -> None:
        self.first = asyncio.Event()
        self.repeated = False
        self._on_second = on_second

    def listen(self) -> None:
        """Takes the signals over from Python, which would raise KeyboardInterrupt at any place."""
        loop = asyncio.get_running_loop()
        for number in _SIGNALS:
            loop.add_signal_handler(number, self.receive)

    def receive(self) -> None:
        """Notes one signal."""
        if self.first.is_set():
            self.repeated = True
            self._on_second()
        self.first.set()


async def first_of(*work: Coroutine[Any, Any, object]) -> None:
    """Runs all until one of them returns or raises, which decides; cancels the others and waits for their end."""
    tasks = [asyncio.create_task(each) for each in work]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    for task in done:
        task.result()


class LocalMesh:
    """A mesh on this machine, from its start to its end."""

    def __init__(self, plan: Plan, ready_file: ReadyFile) -> None:
        self._plan = plan
        self._ready_file = ready_file
        self._description = plan.description()
        self._supervisor = Supervisor(
            plan.processes, plan.state.logs, show=show_log_line, say=say, started=self._processes_changed
        )
        self._interrupts = Interrupts(on_second=self._supervisor.kill)
        self._start_seconds = _START_SECONDS + plan.model_bytes / _READING_SPEED

    async def run(self) -> int:
        """Serves until a signal comes and returns the exit status; raises CliError if the mesh cannot start."""
        self._interrupts.listen()
        self._ready_file.remove()
        self._plan.state.save_mesh(self._description)
        chain = (CHAIN,) if self._plan.choices.chain else ()
        names = ", ".join((*chain, *self._plan.choices.services))
        say(f"starting {self._plan.etcd}, {names} (logs in {self._plan.state.logs})")
        try:
            if self._plan.choices.chain is not None:
                self._plan.choices.chain.begin()
            self._supervisor.start()
            await first_of(self._serve(), self._supervisor.failed(), self._interrupts.first.wait())
            say("finishing the running requests; press Ctrl-C again to stop at once")
        finally:
            self._ready_file.remove()
            await self._supervisor.stop()
            self._plan.state.forget_mesh()
        say("stopped")
        return _INTERRUPTED if self._interrupts.repeated else 0

    async def _serve(self) -> None:
        try:
            async with asyncio.timeout(self._start_seconds):
                account = await self._start()
                chain = await self._chain_greeting(account)
        except TimeoutError:
            raise self._supervisor.too_late(self._start_seconds) from None
        self._announce(account, chain)
        # Serving is what the other processes do.
        await asyncio.Event().wait()

    async def _start(self) -> LocalAccount:
        """Waits until everything serves, and makes the local account as soon as auth and billing do."""
        addresses = self._plan.addresses.listen
        tls = self._plan.tls
        await self._protect_etcd()
        if self._plan.chain is not None and self._plan.choices.chain is not None:
            await self._supervisor.ready(CHAIN)
            await asyncio.to_thread(_prepare_chain, Rpc(self._plan.chain.url), self._plan.choices.chain)
        await self._supervisor.ready("auth", "billing")
        async with (
            auth_client(addresses["auth"], channel_opener(tls, "auth")) as auth,
            operator_client(addresses["auth"], channel_opener(tls, "auth")) as operators,
            billing_client(addresses["billing"], channel_opener(tls, "billing")) as billing,
        ):
            account = await ensure_local_account(
                auth, operators, billing, self._plan.state, console=self._plan.choices.console
            )
        await self._supervisor.ready("etcd", *self._plan.choices.services)
        async with router_client(addresses["router"], channel_opener(tls, "router")) as router:
            await wait_until_available(router, {model.id for model in self._plan.models})
        return account

    async def _protect_etcd(self) -> None:
        """Has etcd demand the password before anybody else uses it."""
        password = self._plan.choices.etcd_password
        if not password:
            return
        await self._supervisor.ready("etcd")
        client = EtcdClient([self._plan.addresses.listen["etcd"]], username=ROOT, password=password)
        try:
            await client.require_password(password)
        finally:
            await client.close()

    async def _chain_greeting(self, account: LocalAccount) -> ChainGreeting | None:
        """Gives the account its deposit address, if there is a chain."""
        chain, tls = self._plan.chain, self._plan.tls
        if chain is None:
            return None
        address = self._plan.addresses.listen["payments"]
        async with payments_client(address, channel_opener(tls, "payments")) as payments:
            request = payments_pb2.GetDepositAddressRequest(account_id=account.credentials.account_id)
            found = await payments.call(payments.stub.GetDepositAddress, request)
        return ChainGreeting(url=chain.url, chain_id=chain.chain_id, token=chain.token, deposit_address=found.address)

    def _announce(self, account: LocalAccount, chain: ChainGreeting | None) -> None:
        plan, credentials = self._plan, account.credentials
        greeting = Greeting(
            base_url=plan.base_url,
            api_key=credentials.api_key,
            console_url=plan.console_url,
            console_key=credentials.console_key,
            operator_console_url=plan.operator_console_url,
            operator_key=credentials.operator_key,
            account_id=credentials.account_id,
            available=account.available,
            runners=plan.choices.runners,
            more=added_by_run_all(plan.catalog),
            catalog=plan.catalog,
            state_directory=plan.state.path,
            logs=plan.state.logs,
            program=program(),
            option=state_option(plan.state),
            chain=chain,
        )
        click.echo(f"\n{greeting}\n")
        self._ready_file.publish(
            {
                "base_url": plan.base_url,
                "api_key": credentials.api_key,
                "account_id": credentials.account_id,
                "console_url": plan.console_url,
                "console_key": credentials.console_key,
                "operator_console_url": plan.operator_console_url,
                "operator_key": credentials.operator_key,
                "state_dir": str(plan.state.path),
                "pids": self._supervisor.pids,
                "metrics": self._description.metrics,
            }
        )

    def _processes_changed(self) -> None:
        self._ready_file.update(self._supervisor.pids)


def _prepare_chain(rpc: Rpc, chain: LocalChain) -> None:
    """Makes what people try the chain with: a token, and gas for the relayer of payments."""
    ensure_test_dollar(rpc)
    give_gas(rpc, own_key(chain.files.relayer_key).address)
