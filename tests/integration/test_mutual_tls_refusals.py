"""Whoever has the wrong name, an expired or a foreign certificate, or none at all, gets nowhere: real processes."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import grpc
import httpx2
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from services.cli.state import certificate_files
from services.common.errors import ERROR_METADATA_KEY
from services.common.etcd import EtcdClient, EtcdUnavailableError
from services.common.rpc.channels import channel_opener
from services.common.settings import TlsSettings
from tests.integration.console.person import Person
from tests.support import programs
from tests.support.certificates import EXPIRED, CertificateAuthority
from tests.support.deadlines import within
from tests.support.mesh import LocalMesh
from tests.support.waiting import eventually
from tiermesh.auth.v1 import (
    auth_pb2,
    auth_pb2_grpc,
    operators_pb2,
    operators_pb2_grpc,
    sign_in_pb2,
    sign_in_pb2_grpc,
)
from tiermesh.billing.v1 import (
    billing_pb2,
    billing_pb2_grpc,
    deposits_pb2,
    deposits_pb2_grpc,
    payouts_pb2,
    payouts_pb2_grpc,
    wallet_payments_pb2,
    wallet_payments_pb2_grpc,
)
from tiermesh.payments.v1 import payments_pb2, payments_pb2_grpc, x402_pb2, x402_pb2_grpc
from tiermesh.router.v1 import router_pb2, router_pb2_grpc
from tiermesh.runner.v1 import runner_pb2, runner_pb2_grpc

Call = Callable[[grpc.aio.Channel], Awaitable[object]]
DENIED, UNAVAILABLE = grpc.StatusCode.PERMISSION_DENIED, grpc.StatusCode.UNAVAILABLE


async def hello(stream: Any) -> object:
    """Reads the first frame, which says that the server is there; raises AioRpcError."""
    frame = await stream.read()
    stream.cancel()
    return frame


async def route(channel: grpc.aio.Channel) -> object:
    return await hello(router_pb2_grpc.RouterServiceStub(channel).Route())


async def transact(channel: grpc.aio.Channel) -> object:
    return await hello(billing_pb2_grpc.BillingServiceStub(channel).Transact())


async def audit(channel: grpc.aio.Channel) -> object:
    return await billing_pb2_grpc.BillingServiceStub(channel).Audit(billing_pb2.AuditRequest())


async def authenticate(channel: grpc.aio.Channel) -> object:
    return await hello(auth_pb2_grpc.AuthServiceStub(channel).Authenticate())


async def list_accounts(channel: grpc.aio.Channel) -> object:
    return await auth_pb2_grpc.AuthServiceStub(channel).ListAccounts(auth_pb2.ListAccountsRequest())


async def list_sessions(channel: grpc.aio.Channel) -> object:
    return await auth_pb2_grpc.AuthServiceStub(channel).ListSessions(auth_pb2.ListSessionsRequest())


async def get_session_key(channel: grpc.aio.Channel) -> object:
    try:
        return await auth_pb2_grpc.AuthServiceStub(channel).GetSessionKey(auth_pb2.GetSessionKeyRequest())
    except grpc.aio.AioRpcError as error:
        # It is the answer for a token of no session; who may not ask gets another one.
        if error.code() is not grpc.StatusCode.UNAUTHENTICATED:
            raise
        return error


async def list_sign_in_methods(channel: grpc.aio.Channel) -> object:
    return await sign_in_pb2_grpc.SignInServiceStub(channel).ListSignInMethods(sign_in_pb2.ListSignInMethodsRequest())


async def answered(call: Awaitable[object]) -> object:
    """Returns the answer of a service, or how it has explained that it does not do this; raises AioRpcError."""
    try:
        return await call
    except grpc.aio.AioRpcError as error:
        if any(key == ERROR_METADATA_KEY for key, _ in error.trailing_metadata() or ()):
            return error
        raise


async def suspend(channel: grpc.aio.Channel) -> object:
    asked = auth_pb2.SuspendAccountRequest(account_id="acct_of_nobody")
    return await answered(auth_pb2_grpc.AuthServiceStub(channel).SuspendAccount(asked))


async def rename_account(channel: grpc.aio.Channel) -> object:
    asked = auth_pb2.RenameAccountRequest(session_token="guess", name="x")
    return await answered(auth_pb2_grpc.AuthServiceStub(channel).RenameAccount(asked))


async def close_account(channel: grpc.aio.Channel) -> object:
    asked = auth_pb2.CloseAccountRequest(session_token="guess")
    return await answered(auth_pb2_grpc.AuthServiceStub(channel).CloseAccount(asked))


async def reopen_account(channel: grpc.aio.Channel) -> object:
    asked = auth_pb2.ReopenAccountRequest(account_id="acct_of_nobody")
    return await answered(auth_pb2_grpc.AuthServiceStub(channel).ReopenAccount(asked))


async def sign_operator_in(channel: grpc.aio.Channel) -> object:
    asked = operators_pb2.CreateOperatorSessionRequest(operator_key="op-guess")
    return await answered(operators_pb2_grpc.OperatorServiceStub(channel).CreateOperatorSession(asked))


async def begin_action(channel: grpc.aio.Channel) -> object:
    asked = operators_pb2.BeginActionRequest(session_token="guess")
    return await answered(operators_pb2_grpc.OperatorServiceStub(channel).BeginAction(asked))


async def create_operator(channel: grpc.aio.Channel) -> object:
    asked = operators_pb2.CreateOperatorRequest(name="")
    return await answered(operators_pb2_grpc.OperatorServiceStub(channel).CreateOperator(asked))


async def grant(channel: grpc.aio.Channel) -> object:
    return await answered(billing_pb2_grpc.BillingServiceStub(channel).Grant(billing_pb2.GrantRequest()))


async def drain_runner(channel: grpc.aio.Channel) -> object:
    asked = router_pb2.DrainRunnerRequest(runner_id="nobody")
    return await answered(router_pb2_grpc.RouterServiceStub(channel).DrainRunner(asked))


async def get_balance(channel: grpc.aio.Channel) -> object:
    asked = billing_pb2.GetBalanceRequest(account_id="acct_of_nobody")
    return await billing_pb2_grpc.BillingServiceStub(channel).GetBalance(asked)


async def deposit_cursor(channel: grpc.aio.Channel) -> object:
    cursor = deposits_pb2.DepositCursor(chain_id=1, token="0x" + 40 * "0", watcher="first")
    asked = deposits_pb2.GetDepositCursorRequest(cursor=cursor)
    return await deposits_pb2_grpc.DepositServiceStub(channel).GetDepositCursor(asked)


async def list_deposits(channel: grpc.aio.Channel) -> object:
    return await deposits_pb2_grpc.DepositServiceStub(channel).ListDeposits(deposits_pb2.ListDepositsRequest())


async def list_account_deposits(channel: grpc.aio.Channel) -> object:
    asked = deposits_pb2.ListAccountDepositsRequest(account_id="acct_of_nobody")
    return await deposits_pb2_grpc.DepositServiceStub(channel).ListAccountDeposits(asked)


async def list_grants(channel: grpc.aio.Channel) -> object:
    asked = billing_pb2.ListGrantsRequest(account_id="acct_of_nobody")
    return await billing_pb2_grpc.BillingServiceStub(channel).ListGrants(asked)


async def claim_wallet_payment(channel: grpc.aio.Channel) -> object:
    asked = wallet_payments_pb2.ClaimWalletPaymentRequest()
    return await answered(wallet_payments_pb2_grpc.WalletPaymentServiceStub(channel).ClaimWalletPayment(asked))


async def open_payout(channel: grpc.aio.Channel) -> object:
    asked = payouts_pb2.OpenPayoutRequest(account_id="wallet:of_nobody")
    return await answered(payouts_pb2_grpc.PayoutServiceStub(channel).OpenPayout(asked))


async def get_terms(channel: grpc.aio.Channel) -> object:
    return await x402_pb2_grpc.X402ServiceStub(channel).GetTerms(x402_pb2.GetTermsRequest())


async def settle_payment(channel: grpc.aio.Channel) -> object:
    asked = x402_pb2.SettlePaymentRequest(request_id="req_of_nobody")
    return await answered(x402_pb2_grpc.X402ServiceStub(channel).SettlePayment(asked))


async def find_deposit_address(channel: grpc.aio.Channel) -> object:
    asked = payments_pb2.FindDepositAddressRequest(account_id="acct_of_nobody")
    return await answered(payments_pb2_grpc.PaymentsServiceStub(channel).FindDepositAddress(asked))


async def watch_availability(channel: grpc.aio.Channel) -> object:
    stub = router_pb2_grpc.RouterServiceStub(channel)
    return await hello(stub.WatchAvailability(router_pb2.WatchAvailabilityRequest()))


async def generate(channel: grpc.aio.Channel) -> object:
    return await hello(runner_pb2_grpc.RunnerServiceStub(channel).Generate())


async def watch_status(channel: grpc.aio.Channel) -> object:
    return await hello(runner_pb2_grpc.RunnerServiceStub(channel).WatchStatus(runner_pb2.WatchStatusRequest()))


# Every kind of method that a service has, and who in the mesh may and may not call it.
METHODS: list[tuple[str, Call, tuple[str, ...], tuple[str, ...]]] = [
    (
        "auth",
        authenticate,
        ("edge", "operator"),
        ("console", "operator-console", "billing", "router", "runner", "payments", "auth"),
    ),
    (
        "auth",
        list_sessions,
        ("console", "operator"),
        ("edge", "operator-console", "billing", "router", "runner", "payments", "auth"),
    ),
    (
        "auth",
        get_session_key,
        ("console", "operator"),
        ("edge", "operator-console", "billing", "router", "runner", "payments", "auth"),
    ),
    (
        "auth",
        list_sign_in_methods,
        ("console", "operator"),
        ("edge", "operator-console", "billing", "router", "runner", "payments", "auth"),
    ),
    ("auth", suspend, ("operator-console", "operator"), ("edge", "console", "billing", "router", "runner", "auth")),
    (
        "auth",
        rename_account,
        ("console", "operator"),
        ("edge", "operator-console", "billing", "router", "runner", "payments", "auth"),
    ),
    (
        "auth",
        close_account,
        ("console", "operator"),
        ("edge", "operator-console", "billing", "router", "runner", "payments", "auth"),
    ),
    (
        "auth",
        reopen_account,
        ("operator-console", "operator"),
        ("edge", "console", "billing", "router", "runner", "payments", "auth"),
    ),
    (
        "auth",
        sign_operator_in,
        ("operator-console", "operator"),
        ("edge", "console", "billing", "router", "runner", "payments"),
    ),
    (
        "auth",
        begin_action,
        ("operator-console", "operator"),
        ("edge", "console", "billing", "router", "runner", "payments"),
    ),
    (
        "auth",
        create_operator,
        ("operator",),
        ("edge", "console", "operator-console", "billing", "router", "runner", "payments"),
    ),
    (
        "auth",
        list_accounts,
        ("operator-console", "operator"),
        ("edge", "console", "billing", "router", "runner", "payments", "auth"),
    ),
    ("billing", transact, ("edge", "operator"), ("console", "operator-console", "auth", "router", "runner", "billing")),
    ("billing", grant, ("console", "operator-console", "operator"), ("edge", "auth", "router", "runner", "billing")),
    (
        "billing",
        get_balance,
        ("edge", "console", "operator-console", "operator"),
        ("auth", "router", "runner", "payments", "billing"),
    ),
    ("billing", audit, ("operator-console", "operator"), ("edge", "console", "auth", "router", "runner", "billing")),
    (
        "router",
        drain_runner,
        ("operator-console", "operator"),
        ("edge", "console", "auth", "billing", "runner", "payments"),
    ),
    ("router", route, ("edge", "operator"), ("console", "operator-console", "auth", "billing", "runner", "router")),
    (
        "router",
        watch_availability,
        ("edge", "console", "operator-console", "operator"),
        ("auth", "billing", "runner", "payments", "router"),
    ),
    ("runner", generate, ("edge", "router"), ("console", "auth", "billing", "operator", "runner")),
    ("runner", watch_status, ("edge", "router"), ("console", "auth", "billing", "operator", "runner")),
    (
        "billing",
        deposit_cursor,
        ("payments", "operator"),
        ("edge", "console", "operator-console", "auth", "router", "runner", "billing"),
    ),
    *(
        (
            "billing",
            call,
            ("console", "operator"),
            ("edge", "operator-console", "payments", "auth", "router", "runner", "billing"),
        )
        for call in (list_account_deposits, list_grants)
    ),
    (
        "billing",
        list_deposits,
        ("operator-console", "operator"),
        ("edge", "console", "payments", "auth", "router", "runner", "billing"),
    ),
    (
        "billing",
        claim_wallet_payment,
        ("payments", "operator"),
        ("edge", "console", "operator-console", "auth", "router", "runner", "billing"),
    ),
    (
        "billing",
        open_payout,
        ("operator",),
        ("edge", "console", "operator-console", "payments", "auth", "router", "runner", "billing"),
    ),
    *(
        (
            "payments",
            call,
            ("edge", "operator"),
            ("console", "operator-console", "auth", "billing", "router", "runner", "payments"),
        )
        for call in (get_terms, settle_payment)
    ),
    (
        "payments",
        find_deposit_address,
        ("console", "operator"),
        ("edge", "operator-console", "auth", "billing", "router", "runner", "payments"),
    ),
]
_CALLS = (authenticate, audit, route, watch_status, get_terms)
ONE_EACH = [next(row for row in METHODS if row[1] is call) for call in _CALLS]


class TlsMesh:
    """A mesh, and the authority of its certificates."""

    def __init__(self, directory: Path) -> None:
        self.authority = CertificateAuthority()
        chain = {"PATH": programs.path_with_anvil()}
        self.mesh = LocalMesh(directory, "--tls", "--console-port", "0", "--chain", environ=chain)
        self._certificates = self.mesh.state_dir / "tls"
        self.authority.issue_all(self._certificates)

    def files(self, part: str) -> TlsSettings:
        return certificate_files(self._certificates / part)

    def address(self, service: str) -> str:
        return self.mesh.addresses["runner-pro" if service == "runner" else service]

    async def outcome(self, service: str, call: Call, tls: TlsSettings, expect: str = "") -> grpc.StatusCode:
        """Makes the call as the owner of these certificates and returns what became of it."""
        async with channel_opener(tls, expect or service)(self.address(service)) as channel:
            try:
                async with within(10):
                    await call(channel)
            except grpc.aio.AioRpcError as error:
                return error.code()
        return grpc.StatusCode.OK


@pytest.fixture(scope="module")
def tls_mesh(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TlsMesh]:
    tls_mesh = TlsMesh(tmp_path_factory.mktemp("refusals"))
    with tls_mesh.mesh:
        yield tls_mesh


@pytest.mark.parametrize(("service", "call", "allowed", "refused"), METHODS)
async def test_only_those_whom_it_serves_may_call_a_service(
    tls_mesh: TlsMesh, service: str, call: Call, allowed: tuple[str, ...], refused: tuple[str, ...]
) -> None:
    for caller in allowed:
        assert await tls_mesh.outcome(service, call, tls_mesh.files(caller)) is grpc.StatusCode.OK, caller
    for caller in refused:
        assert await tls_mesh.outcome(service, call, tls_mesh.files(caller)) is DENIED, caller


def test_the_consoles_can_call_all_that_their_pages_need(tls_mesh: TlsMesh) -> None:
    mesh = tls_mesh.mesh
    with Person(mesh.console_url) as owner:
        owner.sign_in(mesh.console_key)
        for path in ("/", "/keys", "/usage", "/receipts", "/top-up", "/models", "/account"):
            assert owner.open(path).status == 200, path
    with Person(mesh.operator_console_url) as operator:
        operator.sign_in(mesh.operator_key)
        assert operator.open("/catalog").source.count(">the same<") == 3
        account = f"/accounts/{mesh.account_id}"
        assert operator.fill_in(account, f"{account}/grant", credits="5", reason="a test").location == account
        for verb in ("suspend", "resume"):
            assert operator.fill_in(account, f"{account}/{verb}", reason="a test").location == account
        assert operator.fill_in(account, f"{account}/keys").status == 200
        for verb in ("drain", "undrain"):
            [action] = [each for each in operator.open("/runners").forms if each.endswith(f"/{verb}")]
            assert operator.fill_in("/runners", action).location == "/runners"
        assert operator.fill_in("/money", "/money/audit").shows("The ledger is sound.")
        assert operator.open("/record").source.count(">done<") == 7


async def test_a_wallet_pays_through_all_parts(tls_mesh: TlsMesh) -> None:
    paid = await tls_mesh.mesh.command("x402", "pay", "Name a colour.", "--max-tokens", "3")
    assert paid["transaction"].startswith("0x")


@pytest.mark.parametrize(("service", "call", "allowed", "refused"), ONE_EACH)
async def test_a_certificate_that_is_not_good_is_refused(
    tls_mesh: TlsMesh, service: str, call: Call, allowed: tuple[str, ...], refused: tuple[str, ...], tmp_path: Path
) -> None:
    name = f"tiermesh-{allowed[0]}"
    trusted = tls_mesh.files(allowed[0]).ca_file
    expired = tls_mesh.authority.issue(tmp_path / "expired", name, age=EXPIRED)
    foreign = CertificateAuthority().issue(tmp_path / "foreign", name)
    stranger = TlsSettings(ca_file=trusted, cert_file=foreign.cert_file, key_file=foreign.key_file)
    assert await tls_mesh.outcome(service, call, expired) is UNAVAILABLE
    assert await tls_mesh.outcome(service, call, stranger) is UNAVAILABLE
    assert await tls_mesh.outcome(service, call, TlsSettings()) is UNAVAILABLE
    # The same with a good certificate.
    good = tls_mesh.authority.issue(tmp_path / "good", name)
    assert await tls_mesh.outcome(service, call, good) is grpc.StatusCode.OK


@pytest.mark.parametrize("name", ["peer", "tiermesh-edge.elsewhere.example", "tiermesh-edges", "*"])
async def test_a_name_must_be_exactly_the_one(tls_mesh: TlsMesh, name: str, tmp_path: Path) -> None:
    files = tls_mesh.authority.issue(tmp_path / "files", name)
    assert await tls_mesh.outcome("billing", audit, files) is DENIED


@pytest.mark.parametrize(("service", "call", "allowed", "refused"), ONE_EACH)
async def test_a_server_of_another_name_is_not_talked_to(
    tls_mesh: TlsMesh, service: str, call: Call, allowed: tuple[str, ...], refused: tuple[str, ...]
) -> None:
    wrong = "auth" if service != "auth" else "billing"
    assert await tls_mesh.outcome(service, call, tls_mesh.files(allowed[0]), expect=wrong) is UNAVAILABLE


@pytest.mark.parametrize("service", ["auth", "billing", "router", "runner", "payments"])
async def test_health_is_told_to_everyone_in_the_mesh(tls_mesh: TlsMesh, service: str) -> None:
    async def check(channel: grpc.aio.Channel) -> object:
        return await health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest())

    assert await tls_mesh.outcome(service, check, tls_mesh.files("runner")) is grpc.StatusCode.OK
    assert await tls_mesh.outcome(service, check, TlsSettings()) is UNAVAILABLE


async def test_a_refusal_is_logged_and_counted(tls_mesh: TlsMesh, tmp_path: Path) -> None:
    files = tls_mesh.authority.issue(tmp_path / "files", "somebody.example.org")
    assert await tls_mesh.outcome("billing", transact, files) is DENIED
    log = tls_mesh.mesh.state_dir / "logs" / "billing.log"
    # The supervisor writes down what the process has said, a moment later.
    await eventually(lambda: "somebody.example.org" in log.read_text())
    assert '"event": "caller_refused"' in log.read_text()
    metrics = httpx2.get(tls_mesh.mesh.metrics["billing"]).text
    count = next(line for line in metrics.splitlines() if line.startswith("tiermesh_callers_refused_total "))
    assert float(count.split()[1]) >= 1


async def test_etcd_serves_only_who_has_a_certificate(tls_mesh: TlsMesh, tmp_path: Path) -> None:
    good = tls_mesh.files("router")
    expired = tls_mesh.authority.issue(tmp_path / "expired", "tiermesh-router", age=EXPIRED)
    foreign = CertificateAuthority().issue(tmp_path / "foreign", "tiermesh-router")
    stranger = TlsSettings(ca_file=good.ca_file, cert_file=foreign.cert_file, key_file=foreign.key_file)
    for tls in (expired, stranger, TlsSettings()):
        client = EtcdClient([tls_mesh.mesh.etcd_endpoint], tls=tls)
        with pytest.raises(EtcdUnavailableError):
            await client.get_prefix(b"/tiermesh/", attempts=1)
        await client.close()
    client = EtcdClient([tls_mesh.mesh.etcd_endpoint], tls=good)
    assert len((await client.get_prefix(b"/tiermesh/")).items) == 1
    await client.close()
