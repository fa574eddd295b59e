"""Every management command against a real mesh, for people and for programs."""

from __future__ import annotations

import json
import re
import sqlite3
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, closing, contextmanager
from pathlib import Path
from typing import Any

import aiohttp
import grpc
import pytest

from services.common.rpc.channels import channel_opener
from services.common.rpc.interceptors import call_unary
from services.common.settings import TlsSettings
from tests.support.mesh import LocalMesh, run_tiermesh
from tiermesh.billing.v1 import billing_pb2, billing_pb2_grpc


async def text_of(mesh: LocalMesh, *arguments: str) -> str:
    done = await mesh.run_command(*arguments)
    assert done.returncode == 0, done.stderr
    return done.stdout


async def error_of(mesh: LocalMesh, *arguments: str) -> str:
    done = await mesh.run_command(*arguments)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.count("\n") == 1
    return done.stderr


@contextmanager
def forged_balance(mesh: LocalMesh, account: str) -> Iterator[None]:
    """Gives an account one credit that no entry explains, for a while."""
    change = "UPDATE balances SET available = available + ? WHERE account_id = ?"
    with closing(sqlite3.connect(mesh.state_dir / "billing.db", timeout=10, isolation_level=None)) as database:
        database.execute(change, (1, account))
        yield
        database.execute(change, (-1, account))


async def test_an_account_is_opened_and_what_it_needs_next_is_said(mesh: LocalMesh) -> None:
    account = await mesh.command("account", "create", "Ada & Co")
    assert account["id"].startswith("acct_")
    assert (account["name"], type(account["created_at_ms"])) == ("Ada & Co", int)
    text = await text_of(mesh, "account", "create", "Grace")
    assert "credits grant acct_" in text
    assert "key create acct_" in text
    assert f"--state-dir {mesh.state_dir}" in text
    assert {"local", "Ada & Co", "Grace"} <= {each["name"] for each in await mesh.command("account", "list")}
    assert "Ada & Co" in await text_of(mesh, "account", "list")


async def test_a_key_is_shown_once_listed_and_revoked(mesh: LocalMesh) -> None:
    account = (await mesh.command("account", "create", "keys"))["id"]
    key = await mesh.command("key", "create", account, "--name", "ci", "--rpm", "7", "--expires-in", "2")
    assert key["api_key"].startswith("sk-tiermesh-")
    assert (key["account_id"], key["name"], key["requests_per_minute"]) == (account, "ci", 7)
    assert abs(key["expires_at_ms"] - (time.time() + 2 * 86400) * 1000) < 60_000
    # By name, too.
    (listed,) = await mesh.command("key", "list", "keys")
    assert listed == {name: value for name, value in key.items() if name != "api_key"}
    assert listed in await mesh.command("key", "list")
    table = await text_of(mesh, "key", "list", account)
    assert key["id"] in table
    assert "expires 20" in table
    assert key["api_key"] not in table
    revoked = await mesh.command("key", "revoke", key["id"])
    assert revoked["revoked_at_ms"] > 0
    assert "revoked 20" in await text_of(mesh, "key", "list", account)
    assert "now get status 401" in await text_of(mesh, "key", "revoke", key["id"])


async def test_descendants_are_revoked_if_asked(mesh: LocalMesh) -> None:
    account = (await mesh.command("account", "create", "makers"))["id"]
    maker = await mesh.command("key", "create", account, "--endpoint", "keys")
    headers = {"Authorization": f"Bearer {maker['api_key']}"}
    async with (
        aiohttp.ClientSession(headers=headers) as http,
        http.post(f"{mesh.base_url}/keys", json={"endpoints": ["keys"]}) as response,
    ):
        made = (await response.json())["id"]
    assert [key["created_by"] for key in await mesh.command("key", "list", account)] == ["", maker["id"]]
    assert (await mesh.command("key", "revoke", maker["id"]))["descendants"] == []
    text = await text_of(mesh, "key", "revoke", maker["id"], "--descendants")
    assert f"these descendants: {made}." in text
    assert "these descendants: none." in await text_of(mesh, "key", "revoke", maker["id"], "--descendants")


async def test_a_key_is_made_with_scopes_and_rotated(mesh: LocalMesh) -> None:
    account = (await mesh.command("account", "create", "scopes"))["id"]
    options = ("--model", "tiermesh-pro", "--endpoint", "chat", "--endpoint", "models", "--monthly-cap", "500")
    key = await mesh.command("key", "create", account, *options)
    assert (key["models"], key["endpoints"], key["monthly_credit_cap"]) == (["tiermesh-pro"], ["chat", "models"], 500)
    table = await text_of(mesh, "key", "list", account)
    assert "chat, models; tiermesh-pro" in table
    assert "500" in table
    rotated = await mesh.command("key", "rotate", key["id"])
    assert rotated["api_key"] != key["api_key"]
    assert (rotated["models"], rotated["monthly_credit_cap"]) == (["tiermesh-pro"], 500)
    assert abs(rotated["old_key"]["expires_at_ms"] - (time.time() + 86400) * 1000) < 60_000
    text = await text_of(mesh, "key", "rotate", rotated["id"], "--overlap-hours", "0")
    assert f"The old key, {rotated['id']}, works until 20" in text
    assert "was rotated before" in await error_of(mesh, "key", "rotate", key["id"])


async def test_a_key_without_an_account_is_the_local_one_s(mesh: LocalMesh) -> None:
    text = await text_of(mesh, "key", "create", "--rpm", "0")
    assert mesh.account_id in text
    assert "no rate limit" in text
    assert (await mesh.command("key", "create"))["requests_per_minute"] == 60


async def test_credits_are_granted_once_for_each_grant_id(mesh: LocalMesh) -> None:
    account = (await mesh.command("account", "create", "money"))["id"]
    assert await mesh.command("balance", account) == {"account_id": account, "available": 0, "held": 0}
    assert f"credits grant {account} 1000" in await text_of(mesh, "balance", account)
    for _ in range(2):
        granted = await mesh.command("credits", "grant", "money", "1250", "--note", "gift", "--grant-id", "gift-1")
        assert granted == {"grant_id": "gift-1", "account_id": account, "available": 1250, "held": 0}
    assert "1,251 credits ($12.51)" in await text_of(mesh, "credits", "grant", account, "1")
    assert "1,251 credits ($12.51)" in await text_of(mesh, "balance", account)


@asynccontextmanager
async def losing_replies(billing: str) -> AsyncIterator[str]:
    """Yields the address of billing as a command sees it whose connection breaks once the grant is made."""
    server = grpc.aio.server()
    port = server.add_insecure_port("127.0.0.1:0")
    async with channel_opener(TlsSettings())(billing) as channel:
        stub = billing_pb2_grpc.BillingServiceStub(channel)

        async def grant(request: billing_pb2.GrantRequest, context: Any) -> None:
            await call_unary(stub.Grant(request))
            await context.abort(grpc.StatusCode.UNAVAILABLE, "the connection is lost")

        handler: Any = grpc.unary_unary_rpc_method_handler(grant, billing_pb2.GrantRequest.FromString)
        service = grpc.method_handlers_generic_handler("tiermesh.billing.v1.BillingService", {"Grant": handler})
        server.add_generic_rpc_handlers((service,))
        await server.start()
        yield f"127.0.0.1:{port}"
        await server.stop(None)


async def test_credits_whose_reply_is_lost_are_granted_once_by_what_the_command_says(mesh: LocalMesh) -> None:
    account = (await mesh.command("account", "create", "unsure"))["id"]
    async with losing_replies(mesh.addresses["billing"]) as address:
        said = await error_of(mesh, "credits", "grant", account, "7", "--billing-address", address)
    found = re.search("Repeat the command with (--grant-id) (grant_[0-9a-f]{24})", said)
    assert found, said
    for _ in range(2):
        again = await mesh.command("credits", "grant", account, "7", *found.groups())
        assert (again["grant_id"], again["available"]) == (found[2], 7)


async def test_runners_and_models_are_listed(mesh: LocalMesh) -> None:
    (runner,) = await mesh.command("runners")
    assert (runner["tier"], runner["models"], runner["state"]) == ("pro", ["tiermesh-pro", "tiermesh-lite"], "ready")
    assert (runner["slots"], runner["active"], runner["engine"]) == (4, 0, "simulated")
    assert "0 of 4" in await text_of(mesh, "runners")
    models = {model["id"]: model for model in await mesh.command("models")}
    assert (models["tiermesh-pro"]["available"], models["tiermesh-pro"]["runners"]) == (True, 1)
    assert (models["tiermesh-max"]["available"], models["tiermesh-max"]["price"]) == (False, 15)
    table = await text_of(mesh, "models")
    assert "yes, 1 runner" in table
    assert "no runner of tier max" in table


async def test_the_models_listed_are_those_of_the_catalog_that_the_environment_names(
    mesh: LocalMesh, tmp_path: Path
) -> None:
    # As the operator's pod of deploy/k8s has it: an installation's catalog, and no local mesh.
    catalog = tmp_path / "models.yaml"
    catalog.write_text("models: [{id: only, created: 2026-11-21, kind: chat, tier: pro, price: 3, context: 4096}]\n")
    done = await mesh.run_command("models", "--json", environ={"TIERMESH_CLI_CATALOG_FILE": str(catalog)})
    assert [(model["id"], model["price"]) for model in json.loads(done.stdout)] == [("only", 3)]


async def test_the_ledger_is_sound(mesh: LocalMesh) -> None:
    found = await mesh.command("ledger", "audit")
    assert found["violations"] == []
    assert found["entries"] >= 2
    assert "The ledger is sound" in await text_of(mesh, "ledger", "audit")
    assert await mesh.command("ledger", "audit", "--new") == found


async def test_a_broken_ledger_is_named_and_exits_with_1(mesh: LocalMesh) -> None:
    account = (await mesh.command("account", "create", "forged"))["id"]
    await mesh.command("credits", "grant", account, "5")
    with forged_balance(mesh, account):
        for scope in ([], ["--new"]):
            people, programs = (
                await mesh.run_command("ledger", "audit", *scope),
                await mesh.run_command("ledger", "audit", *scope, "--json"),
            )
            assert (people.returncode, programs.returncode) == (1, 1)
            assert account in people.stdout
            assert any(account in violation for violation in json.loads(programs.stdout)["violations"])
    for scope in ([], ["--new"]):
        assert (await mesh.command("ledger", "audit", *scope))["violations"] == []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("balance", "acct_typo"), "There is no account 'acct_typo'. List the accounts with"),
        (("credits", "grant", "acct_typo", "5"), "There is no account 'acct_typo'. List the accounts with"),
        (("key", "create", "acct_typo"), "There is no account 'acct_typo'. List the accounts with"),
        (("key", "revoke", "key_typo"), "key"),
        (("key", "rotate", "key_typo"), "There is no such key"),
        (("key", "create", "--model", "gpt-9"), "There is no model 'gpt-9'. Use one of: tiermesh-pro"),
        (("account", "create", "x" * 201), "at most 200"),
        (("models", "--models", "/missing.yaml"), "cannot read the catalog /missing.yaml"),
    ],
)
async def test_mistakes_are_explained_in_one_line(mesh: LocalMesh, arguments: tuple[str, ...], message: str) -> None:
    assert message in await error_of(mesh, *arguments)


async def test_a_name_that_two_accounts_have_is_refused(mesh: LocalMesh) -> None:
    ids = {(await mesh.command("account", "create", "twin"))["id"] for _ in range(2)}
    error = await error_of(mesh, "balance", "twin")
    assert all(each in error for each in ids)


@pytest.mark.parametrize(
    "arguments",
    [
        ("credits", "grant", "local", "0"),
        ("credits", "grant", "local"),
        ("key", "create", "--rpm", "-1"),
        ("key", "create", "--expires-in", "0"),
        ("key", "create", "--endpoint", "everything"),
        ("key", "create", "--monthly-cap", "-1"),
        ("key", "rotate"),
        ("account", "create"),
        ("ledger", "audits"),
        ("runners", "--tls-ca-file", "ca.pem"),
    ],
)
async def test_wrong_usage_exits_with_2(mesh: LocalMesh, arguments: tuple[str, ...]) -> None:
    done = await mesh.run_command(*arguments)
    assert done.returncode == 2
    assert "Traceback" not in done.stderr


async def test_addresses_need_no_state_directory(mesh: LocalMesh) -> None:
    addresses = json.loads((mesh.state_dir / "mesh.json").read_bytes())["addresses"]
    environ = {f"TIERMESH_CLI_{name.upper()}_ADDRESS": addresses[name] for name in ("auth", "billing", "router")}
    elsewhere = ("--state-dir", str(mesh.state_dir / "none"), "--json")
    by_environment = await run_tiermesh("balance", "local", *elsewhere, environ=environ)
    assert json.loads(by_environment.stdout)["account_id"] == mesh.account_id
    by_option = await run_tiermesh("runners", "--router-address", addresses["router"], *elsewhere)
    assert len(json.loads(by_option.stdout)) == 1
    no_default = await run_tiermesh("balance", *elsewhere, environ=environ)
    assert no_default.returncode == 2
    assert "The argument ACCOUNT is missing" in no_default.stderr


async def test_without_a_mesh_it_is_said_how_to_start_or_find_one(mesh: LocalMesh) -> None:
    nowhere = await run_tiermesh("runners", "--state-dir", str(mesh.state_dir / "none"))
    assert nowhere.returncode == 1
    assert "Start one with `tiermesh up`" in nowhere.stderr
    refused = await run_tiermesh("runners", "--router-address", "127.0.0.1:1")
    assert refused.returncode == 1
    assert "Cannot reach router at 127.0.0.1:1 (unavailable)" in refused.stderr
    assert "TIERMESH_CLI_ROUTER_ADDRESS" in refused.stderr


async def test_the_version_is_told() -> None:
    done = await run_tiermesh("--version")
    assert (done.returncode, done.stdout.split()[0]) == (0, "tiermesh")
