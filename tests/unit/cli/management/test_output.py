from __future__ import annotations

import json

import pytest

from services.cli.management.output import Printer, to_row
from services.cli.management.wording import credits_text, moment, spoken
from tiermesh.auth.v1 import auth_pb2
from tiermesh.billing.v1 import billing_pb2
from tiermesh.router.v1 import router_pb2

COLUMNS = {"id": lambda row: row["id"], "n": lambda row: str(row["n"])}


def test_rows_have_the_names_of_the_contract_and_integers_stay_integers() -> None:
    key = auth_pb2.ApiKey(id="key_1", account_id="acct_1", requests_per_minute=60, created_at_ms=1 << 40)
    assert to_row(key) == {
        "id": "key_1",
        "account_id": "acct_1",
        "name": "",
        "hint": "",
        "requests_per_minute": 60,
        "created_at_ms": 1 << 40,
        "expires_at_ms": 0,
        "revoked_at_ms": 0,
        "last_used_at_ms": 0,
        "models": [],
        "endpoints": [],
        "monthly_credit_cap": 0,
        "replaced_by": "",
        "created_by": "",
        "session_id": "",
    }


def test_nested_and_repeated_fields_are_kept() -> None:
    assert to_row(router_pb2.RunnerView(models=["a", "b"]))["models"] == ["a", "b"]
    assert to_row(billing_pb2.AuditResponse())["violations"] == []
    grant = billing_pb2.GrantResponse(grant_id="g", balance=billing_pb2.Balance(account_id="a", available=5))
    assert to_row(grant) == {"grant_id": "g", "balance": {"account_id": "a", "available": 5, "held": 0}}


def test_a_list_for_programs(capsys: pytest.CaptureFixture[str]) -> None:
    rows = [{"id": "ä", "n": 2**60}]
    Printer(as_json=True).rows(rows, COLUMNS, empty="nothing")
    assert json.loads(capsys.readouterr().out) == rows


def test_an_empty_list_for_programs_is_a_list(capsys: pytest.CaptureFixture[str]) -> None:
    Printer(as_json=True).rows([], COLUMNS, empty="nothing")
    assert capsys.readouterr().out == "[]\n"


def test_a_table_that_is_piped_is_never_wrapped(capsys: pytest.CaptureFixture[str]) -> None:
    long = "x" * 300
    Printer(as_json=False).rows([{"id": long, "n": 1}, {"id": "[red]y", "n": 2}], COLUMNS, empty="nothing")
    out = capsys.readouterr().out
    assert f"{long}   1" in out
    assert "[red]y" in out


def test_an_empty_table_says_what_that_means(capsys: pytest.CaptureFixture[str]) -> None:
    Printer(as_json=False).rows([], COLUMNS, empty="nothing yet")
    assert capsys.readouterr().out == "nothing yet\n"


def test_a_record_has_two_forms(capsys: pytest.CaptureFixture[str]) -> None:
    Printer(as_json=True).record({"n": 1}, "one")
    Printer(as_json=False).record({"n": 1}, "one")
    assert capsys.readouterr().out == '{\n  "n": 1\n}\none\n'


@pytest.mark.parametrize(
    ("amount", "text"),
    [(125_005, "125,005 credits ($1,250.05)"), (0, "0 credits ($0.00)"), (-7, "-7 credits (-$0.07)")],
)
def test_credits_show_their_worth(amount: int, text: str) -> None:
    assert credits_text(amount) == text


def test_times_are_utc_and_zero_means_never() -> None:
    assert moment(1_700_000_000_000, "never") == "2023-11-14 22:13 UTC"
    assert moment(0, "never") == "never"


def test_services_are_named_as_in_a_sentence() -> None:
    assert [spoken(service) for service in ("auth", "router", "payments")] == ["auth", "the router", "payments"]
