"""Deposit addresses: known ones of BIP-44 and EIP-55, and no private key."""

from __future__ import annotations

import pytest

from services.common.evm.addresses import with_checksum
from services.common.settings import SettingsError
from services.payments.derivation import DepositKey
from tests.support.chain import XPUB

# The accounts of the mnemonic "test test test test test test test test test test test junk", as wallets show them.
KNOWN = {
    0: "0xf39Fd6e51aad88F6F4ce6aB8827279cffFb92266",
    1: "0x70997970C51812dc3A010C7d01b50e0d17dc79C8",
    9: "0xa0Ee7A142d267C1f36714E4a8F75612F20a79720",
}


@pytest.mark.parametrize(("index", "address"), KNOWN.items())
def test_addresses_are_those_of_every_wallet(index: int, address: str) -> None:
    assert DepositKey(XPUB).address(index) == address


def test_a_key_has_a_short_name_that_is_not_the_key() -> None:
    key = DepositKey(XPUB)
    assert len(key.id) == 16
    assert key.id == DepositKey(XPUB).id
    assert key.id not in XPUB


# From the text of EIP-55.
@pytest.mark.parametrize(
    "address",
    [
        "0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed",
        "0xfB6916095ca1df60bB79Ce92cE3Ea74c37c5d359",
        "0xdbF03B407c01E7cD3CBea99509d93f8DDDC8C6FB",
        "0xD1220A0cf47c7B9Be7A2E6BA89F429762e7b9aDb",
        "0x52908400098527886E0F7030069857D2E4169EE7",
        "0xde709f2102306220921060314715629080e2fb77",
    ],
)
def test_checksums_are_those_of_the_standard(address: str) -> None:
    assert with_checksum(address.lower()) == address


@pytest.mark.parametrize("text", ["", "xpub", "not a key", XPUB[:-1] + "5", "xprv9s21ZrQH143K3QTDL4LXw2F7HEK3wJUD2nW"])
def test_what_is_no_public_key_is_refused_and_not_repeated(text: str) -> None:
    with pytest.raises(SettingsError, match="XPUB is") as caught:
        DepositKey(text)
    assert not text or text not in str(caught.value)
