"""Transactions, compared with those of Ethereum's own library for Python."""

from __future__ import annotations

import pytest
from eth_account import Account
from hypothesis import given
from hypothesis import strategies as st

from services.common.ethereum.addresses import with_checksum
from services.common.settings import SettingsError
from services.payments.chain.transactions import GasKey, Transaction

KEY = "0x" + "5a" * 32
_TRANSACTIONS = st.builds(
    Transaction,
    chain_id=st.integers(1, 2**53),
    nonce=st.integers(0, 2**40),
    priority_fee=st.integers(0, 2**40),
    most_fee=st.integers(0, 2**60),
    gas=st.integers(0, 2**30),
    to=st.binary(min_size=20, max_size=20).map(lambda address: "0x" + address.hex()),
    data=st.binary(max_size=400),
)


@given(transaction=_TRANSACTIONS)
def test_signed_transactions_are_those_of_the_library(transaction: Transaction) -> None:
    expected = Account.from_key(KEY).sign_transaction(
        {
            "chainId": transaction.chain_id,
            "nonce": transaction.nonce,
            "maxPriorityFeePerGas": transaction.priority_fee,
            "maxFeePerGas": transaction.most_fee,
            "gas": transaction.gas,
            "to": with_checksum(transaction.to),
            "value": 0,
            "data": transaction.data,
        }
    )
    signed = GasKey(KEY).sign(transaction)
    assert signed.raw == "0x" + bytes(expected.raw_transaction).hex()
    assert signed.tx_hash == "0x" + bytes(expected.hash).hex()


def test_the_address_has_its_checksum() -> None:
    assert GasKey(KEY).address == Account.from_key(KEY).address


@pytest.mark.parametrize("key", ["", "0x12", "5a" * 32, "0x" + "zz" * 32, "0x" + "00" * 32, "0x" + "ff" * 32])
def test_what_is_no_private_key_is_refused_without_being_shown(key: str) -> None:
    with pytest.raises(SettingsError) as caught:
        GasKey(key)
    assert not key or key not in str(caught.value)
