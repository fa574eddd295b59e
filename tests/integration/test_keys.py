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


def page(client: openai.OpenAI, **query: str | int) -> dict[str, Any]:
    listed: Any = client.get("/keys", cast_to=object, options={"params": query})
    assert listed["object"] == "list"
    return dict(listed)


def get(client: openai.OpenAI) -> list[dict[str, Any]]:
    keys: list[dict[str, Any]] = page(client)["data"]
    return keys


def delete(client: openai.OpenAI, key_id: str, **query: str) -> dict[str, Any]:
    deleted: Any = client.delete(f"/keys/{key_id}", cast_to=object, options={"params": query})
    return dict(deleted)


def served(*clients: openai.OpenAI) -> int:
    """Sends one request with each and returns how many the caps let pass."""
    refusals = []
    for client in clients:
        try:
            chat(client)
        except openai.APIStatusError as error:
            refusals.append((error.status_code, error.code))
    assert set(refusals) <= {(402, "insufficient_credits")}
    return len(clients) - len(refusals)


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


MANAGER = ("--endpoint", "chat", "--endpoint", "keys")


def test_a_cap_binds_a_key_and_all_keys_made_by_it(owner: Owner) -> None:
    parent = owner.client(owner.make(*MANAGER, "--monthly-cap", "25")["api_key"])
    children = [owner.client(post(parent)["key"]) for _ in range(2)]
    grandchild = owner.client(post(owner.client(post(parent, endpoints=["keys", "chat"])["key"]))["key"])
    family = [*children, parent, grandchild]
    assert served(*family * 3) == 2
    assert owner.spent() == 20
    # Keys of the account that do not descend from it are free to go on.
    assert served(owner.sdk) == 1


def test_a_child_s_lower_cap_binds_it_within_the_cap_of_its_maker(owner: Owner) -> None:
    parent = owner.client(owner.make(*MANAGER, "--monthly-cap", "35")["api_key"])
    low, high = (owner.client(post(parent, monthly_credit_cap=cap)["key"]) for cap in (10, 35))
    assert served(low, low) == 1
    assert served(high, parent, high) == 2
    assert owner.spent() == 30


def test_a_rate_limit_binds_a_key_and_all_keys_made_by_it_or_its_rotation(owner: Owner) -> None:
    made = owner.make(*MANAGER, "--endpoint", "models", "--rpm", "6")
    parent = owner.client(made["api_key"])
    # These two requests count as well.
    children = [owner.client(post(parent)["key"]) for _ in range(2)]
    rotated = owner.client(owner.mesh.command_now("key", "rotate", made["id"])["api_key"])
    for client in (*children, parent, rotated):
        client.models.list()
    for client in (*children, parent, rotated):
        with pytest.raises(openai.RateLimitError, match="may make 6 requests in any 60 seconds"):
            client.models.list()


def test_a_rotation_begins_no_new_month(owner: Owner) -> None:
    old = owner.make("--monthly-cap", "25")
    assert served(*[owner.client(old["api_key"])] * 3) == 2
    new = owner.mesh.command_now("key", "rotate", old["id"])
    again = owner.mesh.command_now("key", "rotate", new["id"])
    assert served(*(owner.client(key["api_key"]) for key in (old, new, again))) == 0
    assert owner.spent() == 20


def test_what_a_stolen_key_has_made_is_shown_and_revoked_with_it(owner: Owner) -> None:
    stolen = owner.make(*MANAGER)
    thief = owner.client(stolen["api_key"])
    hidden = post(thief, endpoints=["keys", "chat"])
    deeper = post(owner.client(hidden["key"]))
    makers = {key["id"]: key["created_by"] for key in get(owner.sdk)}
    expected: dict[str, str | None] = {owner.key["id"]: None, stolen["id"]: None}
    assert makers == {**expected, hidden["id"]: stolen["id"], deeper["id"]: hidden["id"]}
    # Without the parameter they live on, and with it they can still be revoked later.
    assert "descendants" not in delete(owner.sdk, stolen["id"])
    chat(owner.client(deeper["key"]))
    with pytest.raises(openai.BadRequestError) as caught:
        delete(owner.sdk, stolen["id"], descendants="yes")
    assert caught.value.param == "descendants"
    deleted = delete(owner.sdk, stolen["id"], descendants="true")
    assert sorted(deleted["descendants"]) == sorted([hidden["id"], deeper["id"]])
    for key in (stolen["api_key"], hidden["key"], deeper["key"]):
        with pytest.raises(openai.AuthenticationError, match="revoked"):
            chat(owner.client(key))
    assert delete(owner.sdk, stolen["id"], descendants="true")["descendants"] == []


def test_a_key_revokes_neither_stronger_ones_nor_its_makers(owner: Owner) -> None:
    weak = owner.client(owner.make(*MANAGER, "--rpm", "0", "--monthly-cap", "50")["api_key"])
    equal = owner.make("--endpoint", "chat", "--rpm", "0", "--monthly-cap", "50")
    child = owner.client(post(owner.sdk, endpoints=list(ALL), requests_per_minute=0)["key"])
    for client in (weak, child):
        for query in ({}, {"descendants": "true"}):
            with pytest.raises(openai.PermissionDeniedError) as caught:
                delete(client, owner.key["id"], **query)
            assert caught.value.code == "permission_denied"
    chat(owner.sdk)
    delete(weak, equal["id"])
    delete(weak, post(weak)["id"])


def test_the_list_has_pages(owner: Owner) -> None:
    made = [owner.key["id"], *(post(owner.sdk)["id"] for _ in range(4))]
    listed: list[str] = []
    after: dict[str, str] = {}
    for expected in (2, 2, 1):
        one = page(owner.sdk, limit=2, **after)
        assert len(one["data"]) == expected
        assert one["last_id"] == one["data"][-1]["id"]
        listed += [key["id"] for key in one["data"]]
        assert one["has_more"] is (len(listed) < len(made))
        after = {"after": one["last_id"]}
    assert sorted(listed) == sorted(made)
    assert page(owner.sdk, **after) == {"object": "list", "data": [], "last_id": None, "has_more": False}
    for query in ({"limit": "0"}, {"limit": "1001"}, {"limit": "x"}, {"limit": "9" * 5000}, {"after": "key_unknown"}):
        with pytest.raises(openai.BadRequestError) as caught:
            page(owner.sdk, **query)
        assert caught.value.param == next(iter(query))
