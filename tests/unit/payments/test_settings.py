"""What payments cannot guess must be said."""

from __future__ import annotations

import pytest

from services.common.settings import SettingsError, load_settings
from services.payments.settings import PaymentsSettings

GIVEN = {"RPC_URL": "http://node.example/key", "CHAIN_ID": "8453", "TOKEN": "0x" + 40 * "1", "XPUB": "xpub"}


def load(**changes: str) -> PaymentsSettings:
    environ = {f"TIERMESH_PAYMENTS_{name}": value for name, value in {**GIVEN, **changes}.items()}
    return load_settings(PaymentsSettings, "payments", environ)


def test_four_settings_are_enough() -> None:
    settings = load()
    assert (settings.chain_id, settings.second_rpc_url, settings.tls.client_names) == (
        *(8453, ""),
        ("tiermesh-console", "tiermesh-operator", "tiermesh-edge"),
    )


@pytest.mark.parametrize("name", GIVEN)
def test_each_of_them_is_needed(name: str) -> None:
    with pytest.raises(SettingsError, match="set RPC_URL, CHAIN_ID, TOKEN and XPUB"):
        load(**{name: "0" if name == "CHAIN_ID" else ""})


@pytest.mark.parametrize("token", ["0x12", "USDC", "0x" + 40 * "g", "0x" + 41 * "1"])
def test_the_token_is_an_address(token: str) -> None:
    with pytest.raises(SettingsError, match="TOKEN must be the address of a contract") as caught:
        load(TOKEN=token)
    assert GIVEN["RPC_URL"] not in str(caught.value)


WALLETS = {"X402_PAY_TO": "0x" + 40 * "7", "RELAYER_KEY": "0x" + 64 * "5"}


@pytest.mark.parametrize("name", WALLETS)
def test_what_wallets_pay_by_is_given_whole(name: str) -> None:
    assert load(**WALLETS).x402_pay_to == WALLETS["X402_PAY_TO"]
    with pytest.raises(SettingsError, match="set X402_PAY_TO together with RELAYER_KEY or FACILITATOR_URL"):
        load(**{**WALLETS, name: ""})


def test_a_facilitator_takes_the_place_of_the_relayer() -> None:
    with pytest.raises(SettingsError, match="RELAYER_KEY or FACILITATOR_URL and not both"):
        load(**WALLETS, FACILITATOR_URL="https://facilitator.example")
    found = load(**{**WALLETS, "RELAYER_KEY": "", "FACILITATOR_URL": "https://facilitator.example"})
    assert found.facilitator_url == "https://facilitator.example"


def test_the_receiver_is_an_address() -> None:
    with pytest.raises(SettingsError, match="X402_PAY_TO must be an address") as caught:
        load(**{**WALLETS, "X402_PAY_TO": "treasury"})
    assert WALLETS["RELAYER_KEY"] not in str(caught.value)
