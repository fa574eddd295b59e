"""What is written down of contracts is what their hashes say."""

from __future__ import annotations

import pytest

from services.cli.chain.abi import SELECTORS, call_data, decode_string, encode_string, encode_words
from services.cli.chain.dollar import ADDRESS, SENDER
from services.cli.sweeps.token import TRANSFER_TOPIC
from services.common.ethereum import rlp
from services.common.ethereum.addresses import keccak, with_checksum


@pytest.mark.parametrize("signature", SELECTORS)
def test_selectors_are_the_hashes_of_signatures(signature: str) -> None:
    assert keccak(signature.encode())[:4].hex() == SELECTORS[signature]


def test_the_topic_is_the_hash_of_the_event() -> None:
    assert f"0x{keccak(b'Transfer(address,address,uint256)').hex()}" == TRANSFER_TOPIC


def test_the_test_token_is_where_the_first_transaction_makes_it() -> None:
    made = keccak(rlp.encode([bytes.fromhex(SENDER[2:]), 0]))[12:].hex()
    assert with_checksum(f"0x{made}") == ADDRESS


def test_calls_and_strings_are_encoded_as_contracts_take_them() -> None:
    assert call_data("balanceOf(address)", 7) == "0x70a08231" + 63 * "0" + "7"
    assert decode_string("0x" + encode_words(32) + encode_string("Test USD")) == "Test USD"
