"""`tiermesh etcd require-password` says in one line what is missing; it does its work in the tests of the manifests."""

from __future__ import annotations

from tests.support.mesh import run_tiermesh
from tests.support.ports import free_address

COMMAND = ("etcd", "require-password", "--etcd-endpoints")
VARIABLE = "TIERMESH_CLI_ETCD_PASSWORD"


async def test_a_password_is_needed() -> None:
    done = await run_tiermesh(*COMMAND, "127.0.0.1:2379", environ={VARIABLE: ""})
    assert done.returncode == 2
    assert f"Set {VARIABLE} to the password that etcd is to require." in done.stderr


async def test_an_etcd_that_is_away_is_named() -> None:
    address = free_address()
    done = await run_tiermesh(*COMMAND, address, environ={VARIABLE: "secret"})
    assert done.returncode == 1
    assert done.stderr.startswith(f"Error: etcd at {address} does not require the password: UNAVAILABLE")
    assert done.stderr.count("\n") == 1
    assert "secret" not in done.stderr
