"""What a key may do, and how its owner manages keys over HTTP, by the official SDK's own requests."""

from __future__ import annotations

import asyncio
import time
from functools import partial
from pathlib import Path
from typing import Any

import httpx2
import openai
import pytest

from services.common.scopes import ORDINARY
from tests.support.mesh import LocalMesh
from tests.support.waiting import eventually

PROMPT: Any = [{"role": "user", "content": "Hello"}]
ALL = (*ORDINARY, "keys")


class Owner:
    """An account of its own with 100 credits; `sdk` is a client with a key that may do everything."""

    def __init__(self, mesh: LocalMesh) -> None:
        self.mesh = mesh
        self.account = mesh.command_now("account", "create", "owner")["id"]
        mesh.command_now("credits", "grant", self.account, "100")
        self.key = self.make("--rpm", "0", *(option for name in ALL for option in ("--endpoint", name)))
        self.sdk = self.client(self.key["api_key"])

    def make(self, *options: str) -> dict[str, Any]:
        key: dict[str, Any] = self.mesh.command_now("key", "create", self.account, *options)
        return key

    def client(self, api_key: str) -> openai.OpenAI:
        return openai.OpenAI(base_url=self.mesh.base_url, api_key=api_key, max_retries=0)

    def spent(self) -> int:
        balance = self.mesh.command_now("balance", self.account)
        return 100 - int(balance["available"])


@pytest.fixture
def owner(mesh: LocalMesh) -> Owner:
    return Owner(mesh)


def chat(client: openai.OpenAI, model: str = "tiermesh-pro") -> None:
    client.chat.completions.create(model=model, messages=PROMPT, max_tokens=1)


def get(client: openai.OpenAI) -> list[dict[str, Any]]:
    listed: Any = client.get("/keys", cast_to=object)
    assert listed["object"] == "list"
    keys: list[dict[str, Any]] = listed["data"]
    return keys


def post(client: openai.OpenAI, **body: Any) -> dict[str, Any]:
    created: Any = client.post("/keys", cast_to=object, body=body)
    return dict(created)


def test_a_missing_scope_is_403_says_which_and_costs_nothing(owner: Owner) -> None:
    reader = owner.client(owner.make("--endpoint", "balance")["api_key"])
    with pytest.raises(openai.PermissionDeniedError, match=r"scope 'chat'.*has: balance") as caught:
        chat(reader)
    assert caught.value.code == "permission_denied"
    assert caught.value.response.headers["x-request-id"]
    with pytest.raises(openai.PermissionDeniedError, match="scope 'models'"):
        reader.models.list()
    with pytest.raises(openai.PermissionDeniedError, match="scope 'keys'"):
        get(reader)
    assert reader.get("/balance", cast_to=object)
    assert owner.spent() == 0


def test_a_model_beyond_the_scope_is_403_and_not_listed(owner: Owner) -> None:
    pro = owner.client(owner.make("--model", "tiermesh-pro")["api_key"])
    chat(pro)
    assert owner.spent() == 10
    with pytest.raises(openai.PermissionDeniedError, match="'tiermesh-max'; it has: tiermesh-pro") as caught:
        chat(pro, "tiermesh-max")
    assert (caught.value.code, caught.value.param) == ("permission_denied", "model")
    with pytest.raises(openai.PermissionDeniedError):
        pro.models.retrieve("tiermesh-max")
    assert [model.id for model in pro.models.list()] == ["tiermesh-pro"]
    assert owner.spent() == 10


def test_an_ordinary_key_manages_no_keys(owner: Owner) -> None:
    ordinary = owner.client(owner.make()["api_key"])
    for attempt in (
        partial(get, ordinary),
        partial(post, ordinary),
        partial(ordinary.delete, f"/keys/{owner.key['id']}", cast_to=object),
    ):
        with pytest.raises(openai.PermissionDeniedError, match="'keys'"):
            attempt()
    chat(owner.sdk)


async def test_a_key_is_made_listed_without_itself_and_revoked(owner: Owner) -> None:
    soon = int(time.time()) + 3600
    made = post(
        owner.sdk,
        name="ci",
        models=["tiermesh-pro"],
        endpoints=["chat"],
        requests_per_minute=7,
        monthly_credit_cap=50,
        expires_at=soon,
    )
    secret = made.pop("key")
    assert secret.startswith(made["hint"])
    wanted = {"object": "api_key", "name": "ci", "models": ["tiermesh-pro"], "endpoints": ["chat"], "expires_at": soon}
    wanted |= {"requests_per_minute": 7, "monthly_credit_cap": 50, "revoked_at": None, "replaced_by": None}
    assert wanted.items() <= made.items()
    chat(owner.client(secret))
    listed = {key["id"]: key for key in get(owner.sdk)}
    assert listed.keys() == {owner.key["id"], made["id"]}
    assert all("key" not in key for key in listed.values())
    assert owner.sdk.delete(f"/keys/{made['id']}", cast_to=object) == {
        "id": made["id"],
        "object": "api_key.deleted",
        "deleted": True,
    }
    with pytest.raises(openai.AuthenticationError, match="revoked"):
        chat(owner.client(secret))
    assert next(key for key in get(owner.sdk) if key["id"] == made["id"])["revoked_at"] >= made["created_at"]


def test_nothing_said_makes_an_ordinary_key(owner: Owner) -> None:
    made = post(owner.sdk)
    assert (made["models"], made["endpoints"]) == ([], list(ORDINARY))
    assert (made["requests_per_minute"], made["monthly_credit_cap"], made["expires_at"]) == (60, 0, None)


def test_a_key_passes_on_no_more_than_it_has(owner: Owner) -> None:
    scopes = ("--endpoint", "keys", "--endpoint", "chat", "--model", "tiermesh-pro")
    limited = owner.client(
        owner.make(*scopes, "--rpm", "50", "--monthly-cap", "20", "--expires-in", "1")["api_key"],
    )
    child = post(limited)
    assert (child["models"], child["endpoints"]) == (["tiermesh-pro"], ["chat"])
    assert (child["requests_per_minute"], child["monthly_credit_cap"]) == (50, 20)
    assert child["expires_at"]
    for field, value in (
        ("models", ["tiermesh-max"]),
        ("endpoints", ["balance"]),
        ("requests_per_minute", 51),
        ("requests_per_minute", 0),
        ("monthly_credit_cap", 21),
        ("monthly_credit_cap", 0),
        ("expires_at", int(time.time()) + 10 * 86400),
    ):
        with pytest.raises(openai.PermissionDeniedError) as caught:
            post(limited, **{field: value})
        assert caught.value.param == field


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"name": 7}, "name"),
        ({"name": "x" * 201}, "name"),
        ({"models": ["gpt-9"]}, "models"),
        ({"models": "tiermesh-pro"}, "models"),
        ({"endpoints": ["everything"]}, "endpoints"),
        ({"requests_per_minute": -1}, "requests_per_minute"),
        ({"monthly_credit_cap": 1.5}, "monthly_credit_cap"),
        ({"expires_at": 1}, "expires_at"),
        # A restriction that is misspelt must not make a key that may do more.
        ({"model": ["tiermesh-pro"]}, None),
    ],
)
def test_a_wrong_body_is_400_and_makes_nothing(owner: Owner, body: dict[str, Any], param: str | None) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        post(owner.sdk, **body)
    assert caught.value.param == param
    assert len(get(owner.sdk)) == 1


def test_another_accounts_key_does_not_exist(owner: Owner, mesh: LocalMesh) -> None:
    other = Owner(mesh)
    assert {key["id"] for key in get(owner.sdk)}.isdisjoint(key["id"] for key in get(other.sdk))
    for key_id in (other.key["id"], "key_unknown"):
        with pytest.raises(openai.NotFoundError) as caught:
            owner.sdk.delete(f"/keys/{key_id}", cast_to=object)
        assert caught.value.code == "not_found"
    chat(other.sdk)


def test_both_prefixes_and_wrong_methods(owner: Owner) -> None:
    base = owner.mesh.base_url.removesuffix("/v1")
    headers = {"Authorization": f"Bearer {owner.key['api_key']}"}
    for prefix in ("/v1", "/api/v1"):
        assert httpx2.get(base + prefix + "/keys", headers=headers).status_code == 200
        response = httpx2.put(base + prefix + "/keys", headers=headers)
        assert (response.status_code, response.headers["allow"]) == (405, "GET, HEAD, POST")
        response = httpx2.get(base + prefix + "/keys/key_1", headers=headers)
        assert (response.status_code, response.headers["allow"]) == (405, "DELETE")
    assert httpx2.post(base + "/v1/keys", headers=headers, content=b"").status_code == 200


async def test_a_rotated_key_works_beside_its_successor_until_the_overlap_ends(owner: Owner) -> None:
    old = owner.make("--model", "tiermesh-pro", "--rpm", "0")
    new = owner.mesh.command_now("key", "rotate", old["id"], "--overlap-hours", "0.0009")
    assert (new["models"], new["requests_per_minute"], new["old_key"]["replaced_by"]) == (
        ["tiermesh-pro"],
        0,
        new["id"],
    )
    for key in (old, new):
        owner.client(key["api_key"]).models.list()

    async def expired() -> bool:
        try:
            await asyncio.to_thread(owner.client(old["api_key"]).models.list)
        except openai.AuthenticationError as error:
            return "expired" in str(error)
        return False

    await eventually(expired)
    owner.client(new["api_key"]).models.list()


def test_no_made_key_is_in_a_file(owner: Owner, mesh: LocalMesh) -> None:
    secrets = [post(owner.sdk)["key"], owner.mesh.command_now("key", "rotate", owner.make()["id"])["api_key"]]
    exposed = b"".join(path.read_bytes() for path in Path(mesh.state_dir).rglob("*") if path.is_file())
    for secret in secrets:
        assert secret.rpartition("-")[2][4:].encode() not in exposed
