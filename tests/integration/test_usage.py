"""GET /v1/requests/{id}, GET /v1/usage and the monthly cap through a real mesh, and the commands that show the same."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx2
import pytest

from tests.support.account import FundedAccount
from tests.support.deadlines import stretched
from tests.support.mesh import LocalMesh
from tests.support.waiting import eventually

PRICE = 10
SECRET = "the canary sings in the prompt"
BODY = {"model": "tiermesh-pro", "messages": [{"role": "user", "content": SECRET}], "max_tokens": 3}
SETTINGS = {"TIERMESH_RUNNER_SIMULATED_SPEED": "200"}


@pytest.fixture(scope="module")
def mesh(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalMesh]:
    with LocalMesh(tmp_path_factory.mktemp("usage"), environ=SETTINGS) as mesh:
        yield mesh


@pytest.fixture
def customer(mesh: LocalMesh) -> Customer:
    return Customer(mesh)


class Customer(FundedAccount):
    """An account of its own with 1,000 credits and a key without a limit, described in full."""

    def __init__(self, mesh: LocalMesh) -> None:
        super().__init__(mesh)
        self.key = self.new_key()

    def get(self, path: str, key: dict[str, Any] | None = None) -> httpx2.Response:
        headers = {"Authorization": f"Bearer {(key or self.key)['api_key']}"}
        return httpx2.get(self.mesh.base_url.removesuffix("/v1") + path, headers=headers)

    def ask(self, key: dict[str, Any] | None = None, **parameters: Any) -> httpx2.Response:
        headers = {"Authorization": f"Bearer {(key or self.key)['api_key']}"}
        url = self.mesh.base_url + "/chat/completions"
        return httpx2.post(url, json=BODY | parameters, headers=headers, timeout=stretched(30))


def error_of(response: httpx2.Response) -> tuple[int, str, str | None]:
    error = response.json()["error"]
    return response.status_code, error["code"], error["param"]


async def test_a_receipt_says_what_a_request_cost(customer: Customer) -> None:
    answer = customer.ask()
    request_id = answer.headers["x-request-id"]
    for prefix in "/v1", "/api/v1":
        response = customer.get(f"{prefix}/requests/{request_id}")
        assert SECRET not in response.text
        receipt = response.json()
        created, finished = receipt.pop("created_at"), receipt.pop("finished_at")
        assert created <= finished <= datetime.now(UTC).timestamp()
        usage = answer.json()["usage"]
        assert receipt == {
            "id": request_id,
            "object": "request",
            "status": "completed",
            "model": "tiermesh-pro",
            "key_id": customer.key["id"],
            "quantity": 1,
            "credits_charged": PRICE,
            "credits_held": 0,
            "usage": {name: usage[name] for name in ("prompt_tokens", "completion_tokens", "total_tokens")},
        }


async def test_a_receipt_follows_a_request_to_its_end(customer: Customer) -> None:
    headers = {"Authorization": f"Bearer {customer.key['api_key']}"}
    body = BODY | {"stream": True, "max_tokens": 2000}
    with httpx2.stream("POST", customer.mesh.base_url + "/chat/completions", json=body, headers=headers) as stream:
        lines = stream.iter_lines()
        next(lines)
        path = f"/v1/requests/{stream.headers['x-request-id']}"
        running = customer.get(path).json()
    assert (running["status"], running["credits_held"], running["finished_at"]) == ("in_flight", PRICE, None)
    await eventually(lambda: customer.get(path).json()["status"] == "client_left_late")
    assert customer.get(path).json()["credits_charged"] == PRICE


async def test_others_receipts_do_not_exist(customer: Customer) -> None:
    request_id = customer.ask().headers["x-request-id"]
    stranger = Customer(customer.mesh)
    refused = customer.ask(temperature=9).headers["x-request-id"]
    for response in (
        stranger.get(f"/v1/requests/{request_id}"),
        customer.get(f"/v1/requests/{refused}"),
        customer.get("/v1/requests/req_" + "0" * 32),
        customer.get("/v1/requests/%00"),
        customer.get("/v1/requests/" + "x" * 500),
    ):
        assert error_of(response) == (404, "not_found", "id")


async def test_usage_is_added_up_for_the_owner(customer: Customer) -> None:
    other = customer.new_key()
    tokens = [customer.ask(key).json()["usage"] for key in (customer.key, customer.key, other)]
    Customer(customer.mesh).ask()
    today = datetime.now(UTC).date()
    usage = customer.get("/v1/usage").json()
    assert usage["total"] == {
        "requests": 3,
        "charged_requests": 3,
        "credits": 3 * PRICE,
        "prompt_tokens": sum(each["prompt_tokens"] for each in tokens),
        "completion_tokens": sum(each["completion_tokens"] for each in tokens),
        "usd": "0.30",
    }
    assert (usage["object"], usage["group_by"]) == ("usage", "day")
    assert usage["from"] == f"{today - timedelta(days=29)}T00:00:00Z"
    assert usage["data"] == [{"day": str(today), **usage["total"]}]
    by_key = customer.get(f"/api/v1/usage?group_by=key&from={today}&to={today}").json()
    assert {line["key"]: line["credits"] for line in by_key["data"]} == {customer.key["id"]: 20, other["id"]: 10}
    (by_model,) = customer.get("/v1/usage?group_by=model").json()["data"]
    assert (by_model["model"], by_model["requests"]) == ("tiermesh-pro", 3)
    assert customer.get("/v1/usage?to=2020-01-01").json()["data"] == []


@pytest.mark.parametrize(
    ("query", "param"),
    [
        ("group_by=runner", "group_by"),
        ("from=yesterday", "from"),
        ("to=2026-02-30", "to"),
        ("from=2026-02-02&to=2026-02-01", "from"),
        ("from=2020-01-01&to=2026-01-01", "from"),
    ],
)
async def test_a_wrong_query_is_a_bad_request(customer: Customer, query: str, param: str) -> None:
    response = customer.get(f"/v1/usage?{query}")
    assert error_of(response) == (400, "invalid_request", param)
    assert "_ms" not in response.json()["error"]["message"]


async def test_a_key_stops_at_its_monthly_cap(customer: Customer) -> None:
    capped = customer.new_key("--monthly-cap", str(2 * PRICE + 9))
    assert [customer.ask(capped).status_code for _ in range(2)] == [200, 200]
    refused = customer.ask(capped)
    assert error_of(refused) == (402, "insufficient_credits", None)
    assert "at most 29 credits in a calendar month" in refused.json()["error"]["message"]
    assert customer.ask().status_code == 200


async def test_the_commands_show_the_same(customer: Customer, tmp_path: Path) -> None:
    customer.ask()
    mesh = customer.mesh
    (line,) = mesh.command_now("usage", customer.account, "--by", "key")
    assert (line["key"], line["requests"], line["credits"]) == (customer.key["id"], 1, PRICE)
    assert "charged requests" in (await mesh.run_command("usage", customer.account)).stdout

    statement = mesh.command_now("ledger", "show", customer.account)
    assert [entry["kind"] for entry in statement] == ["grant", "reserve", "reserve", "capture"]
    assert (statement[-1]["available_after"], statement[-1]["held_after"]) == (990, 0)
    assert mesh.command_now("ledger", "show", customer.account, "--limit", "2") == statement[-2:]
    assert "+1,000" in (await mesh.run_command("ledger", "show", customer.account)).stdout

    file = tmp_path / "ledger.csv"
    told = mesh.command_now("ledger", "export", "--csv", str(file))
    rows = list(csv.DictReader(file.open()))
    assert told == {"file": str(file), "entries": len(rows)}
    assert list(rows[0]) == ["entry_id", "at", "reference", "kind", "account_id", "pocket", "amount"]
    assert sum(int(row["amount"]) for row in rows) == 0
    printed = (await mesh.run_command("ledger", "export", "--account", customer.account, "--csv")).stdout
    mine = list(csv.DictReader(printed.splitlines()))
    assert mine == [row for row in rows if row["account_id"] == customer.account]
    assert [json.loads(row["amount"]) for row in mine] == [1000, -10, 10, -10]
    nowhere = await mesh.run_command("ledger", "export", "--csv", str(tmp_path / "no" / "file.csv"))
    assert (nowhere.returncode, nowhere.stdout) == (1, "")
    assert "Cannot write" in nowhere.stderr
