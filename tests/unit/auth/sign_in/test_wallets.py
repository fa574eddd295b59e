"""What wallets do, and every way to use a signature that is not meant for it."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from dataclasses import replace

import pytest
from fido2.utils import websafe_decode

from services.auth.issuing.rights import Wish
from services.auth.sign_in.challenge import LIFETIME, Challenge
from services.auth.sign_in.wallet_message import message_of
from services.auth.sign_in.wallets import MOST_WALLETS, Signed, Site
from services.common.errors import Code, MeshError
from services.common.ethereum.addresses import with_checksum
from services.common.ethereum.signatures import signer_of
from services.common.scopes import ENDPOINTS
from tests.support.authenticator import Authenticator
from tests.support.wallet import SoftwareWallet
from tests.unit.auth.sign_in.conftest import BROWSER, CONSOLE, RATE, World

SITE = Site(CONSOLE.origin, 1)
# A key that everybody knows, so that what it signs can be compared with what other software says.
KNOWN = SoftwareWallet(bytes.fromhex("ac0974bec39a17e36ba4a6b4d238ff944bacb478cbed5efcae784d7bf4f2ff80"))


async def refusal(work: Awaitable[object]) -> Code:
    with pytest.raises(MeshError) as caught:
        await work
    return caught.value.code


def signed(challenge: Challenge, wallet: SoftwareWallet) -> Signed:
    """Returns what a wallet answers to a challenge."""
    return Signed(challenge.challenge.hex(), wallet.sign(message_of(challenge)))


async def sign_up(world: World, wallet: SoftwareWallet, name: str = "Zoë") -> str:
    challenge = await world.wallets.begin_sign_up(SITE, BROWSER, wallet.address, name)
    return (await world.wallets.sign_up(BROWSER, signed(challenge, wallet), "Firefox"))[0]


async def sign_in(world: World, wallet: SoftwareWallet) -> str:
    challenge = await world.wallets.begin_sign_in(SITE, BROWSER, wallet.address)
    return (await world.wallets.sign_in(BROWSER, signed(challenge, wallet), "Firefox"))[0]


async def add(world: World, token: str, wallet: SoftwareWallet, name: str = "ledger") -> str:
    """Adds a wallet in a session, and returns the key that it stands on."""
    challenge = await world.wallets.begin_adding(SITE, token, wallet.address)
    found, _ = await world.wallets.add(token, signed(challenge, wallet), name)
    return found.wallet.key_id


async def test_an_account_is_opened_and_entered_with_a_wallet(world: World) -> None:
    wallet = SoftwareWallet()
    first = await world.sessions.find(await sign_up(world, wallet, "Zoë <b>"))
    assert (first.account_name, first.session.label) == ("Zoë <b>", "Firefox")
    key = first.standing_on
    assert (key.endpoints, key.requests_per_minute, key.has_secret, key.hint) == (ENDPOINTS, RATE, False, "wallet")
    second = await world.sessions.find(await sign_in(world, wallet))
    assert (second.session.account_id, second.session.key_id) == (first.session.account_id, key.id)
    assert world.used == [key.id, key.id]
    [listed] = await world.wallets.list(key.account_id)
    assert (listed.key, listed.wallet.address) == (key, wallet.address.lower())


async def test_the_message_is_that_of_the_standard(world: World) -> None:
    challenge = await world.wallets.begin_sign_in(
        Site("https://console.example.org:8443", 8453), BROWSER, KNOWN.address.lower()
    )
    assert message_of(challenge) == (
        "console.example.org:8443 wants you to sign in with your Ethereum account:\n"
        "0xf39Fd6e51aad88F6F4ce6aB8827279cffFb92266\n"
        "\n"
        "Sign in to your account.\n"
        "\n"
        "URI: https://console.example.org:8443\n"
        "Version: 1\n"
        "Chain ID: 8453\n"
        f"Nonce: {challenge.challenge.hex()}\n"
        "Issued At: 2027-01-15T08:00:00.000Z\n"
        "Expiration Time: 2027-01-15T08:05:00.000Z"
    )


async def test_a_signature_is_good_once(world: World) -> None:
    wallet = SoftwareWallet()
    await sign_up(world, wallet)
    answer = signed(await world.wallets.begin_sign_in(SITE, BROWSER, wallet.address), wallet)
    await world.wallets.sign_in(BROWSER, answer, "")
    assert await refusal(world.wallets.sign_in(BROWSER, answer, "")) is Code.CONFLICT


async def test_a_refused_answer_uses_the_challenge_up(world: World) -> None:
    wallet = SoftwareWallet()
    await sign_up(world, wallet)
    challenge = await world.wallets.begin_sign_in(SITE, BROWSER, wallet.address)
    assert await refusal(world.wallets.sign_in(BROWSER, signed(challenge, KNOWN), "")) is Code.PERMISSION_DENIED
    assert await refusal(world.wallets.sign_in(BROWSER, signed(challenge, wallet), "")) is Code.CONFLICT


async def test_a_signature_is_good_in_one_browser(world: World) -> None:
    wallet = SoftwareWallet()
    await sign_up(world, wallet)
    answer = signed(await world.wallets.begin_sign_in(SITE, BROWSER, wallet.address), wallet)
    assert await refusal(world.wallets.sign_in("another browser", answer, "")) is Code.CONFLICT
    assert await refusal(world.wallets.sign_in(BROWSER, answer, "")) is Code.CONFLICT


async def test_an_old_challenge_is_refused(world: World) -> None:
    wallet = SoftwareWallet()
    await sign_up(world, wallet)
    answer = signed(await world.wallets.begin_sign_in(SITE, BROWSER, wallet.address), wallet)
    world.clock.advance(LIFETIME)
    assert await refusal(world.wallets.sign_in(BROWSER, answer, "")) is Code.CONFLICT


@pytest.mark.parametrize(
    "changed",
    [
        lambda challenge: replace(challenge, origin="https://evil.example"),
        lambda challenge: replace(challenge, relying_party_id="evil.example"),
        lambda challenge: replace(challenge, chain_id=8453),
        lambda challenge: replace(challenge, expires_at_ms=challenge.expires_at_ms + 1),
        lambda challenge: replace(challenge, challenge=bytes(32)),
        lambda challenge: replace(challenge, wallet_address=KNOWN.address.lower()),
    ],
    ids=["origin", "domain", "chain", "time", "nonce", "address"],
)
async def test_what_was_signed_with_another_text_is_refused(
    world: World, changed: Callable[[Challenge], Challenge]
) -> None:
    wallet = SoftwareWallet()
    await sign_up(world, wallet)
    challenge = await world.wallets.begin_sign_in(SITE, BROWSER, wallet.address)
    answer = Signed(challenge.challenge.hex(), wallet.sign(message_of(changed(challenge))))
    assert await refusal(world.wallets.sign_in(BROWSER, answer, "")) is Code.PERMISSION_DENIED


async def test_a_challenge_is_good_for_one_thing(world: World) -> None:
    wallet = SoftwareWallet()
    token = await sign_up(world, wallet)
    begun: dict[str, Callable[[], Awaitable[Challenge]]] = {
        "sign_in": lambda: world.wallets.begin_sign_in(SITE, token, wallet.address),
        "sign_up": lambda: world.wallets.begin_sign_up(SITE, token, wallet.address, "other"),
        "confirm": lambda: world.wallets.begin_confirmation(SITE, token, wallet.address),
        "add": lambda: world.wallets.begin_adding(SITE, token, wallet.address),
    }
    completed: dict[str, Callable[[Signed], Awaitable[object]]] = {
        "sign_in": lambda answer: world.wallets.sign_in(token, answer, ""),
        "sign_up": lambda answer: world.wallets.sign_up(token, answer, ""),
        "confirm": lambda answer: world.wallets.confirm(token, answer),
        "add": lambda answer: world.wallets.add(token, answer, ""),
    }
    for begin, make in begun.items():
        for complete, use in completed.items():
            if begin != complete:
                assert await refusal(use(signed(await make(), wallet))) is Code.CONFLICT, (begin, complete)


async def test_the_challenge_of_a_passkey_is_nothing_to_a_wallet(world: World, authenticator: Authenticator) -> None:
    await world.sign_up(authenticator)
    options = json.loads(await world.passkeys.begin_sign_in(CONSOLE, BROWSER))
    nonce = websafe_decode(options["challenge"]).hex()
    answer = Signed(nonce, KNOWN.sign("anything"))
    assert await refusal(world.wallets.sign_in(BROWSER, answer, "")) is Code.CONFLICT


async def test_another_wallet_does_not_confirm(world: World) -> None:
    wallet, other = SoftwareWallet(), SoftwareWallet()
    token = await sign_up(world, wallet)
    before = (await world.sessions.find(token)).session.confirmed_at_ms
    world.clock.advance(10)
    await add(world, token, other)
    begin = world.wallets.begin_confirmation(SITE, token, other.address)
    assert await refusal(begin) is Code.PERMISSION_DENIED
    challenge = await world.wallets.begin_confirmation(SITE, token, wallet.address)
    assert await refusal(world.wallets.confirm(token, signed(challenge, other))) is Code.PERMISSION_DENIED
    challenge = await world.wallets.begin_confirmation(SITE, token, wallet.address)
    found = await world.wallets.confirm(token, signed(challenge, wallet))
    assert found.session.confirmed_at_ms == before + 10_000
    _, _, by_key = await world.owner()
    begin = world.wallets.begin_confirmation(SITE, by_key, wallet.address)
    assert await refusal(begin) is Code.PERMISSION_DENIED


async def test_a_wallet_signs_in_to_one_account(world: World) -> None:
    wallet = SoftwareWallet()
    key = await world.key_of(await sign_up(world, wallet))
    accounts = len(await world.accounts.list())
    challenge = await world.wallets.begin_sign_up(SITE, BROWSER, wallet.address, "again")
    assert await refusal(world.wallets.sign_up(BROWSER, signed(challenge, wallet), "")) is Code.CONFLICT
    assert len(await world.accounts.list()) == accounts
    _, _, token = await world.owner()
    challenge = await world.wallets.begin_adding(SITE, token, wallet.address)
    assert await refusal(world.wallets.add(token, signed(challenge, wallet), "")) is Code.CONFLICT
    assert (await world.key_of(await sign_in(world, wallet))).id == key.id


async def test_a_removed_wallet_signs_nobody_in_and_is_free(world: World) -> None:
    wallet = SoftwareWallet()
    account, key, token = await world.owner()
    added = await add(world, token, wallet)
    entered = await sign_in(world, wallet)
    await world.issuer.revoke(added, account.id, revoker_key_id=key.id)
    assert await world.ended(entered)
    assert await world.wallets.list(account.id) == []
    assert await refusal(sign_in(world, wallet)) is Code.UNAUTHENTICATED
    other = await world.key_of(await sign_up(world, wallet, "another"))
    assert other.account_id != account.id
    assert (await world.key_of(await sign_in(world, wallet))).id == other.id


async def test_the_last_way_in_cannot_be_removed(world: World) -> None:
    wallet, other = SoftwareWallet(), SoftwareWallet()
    token = await sign_up(world, wallet)
    key = await world.key_of(token)
    removal = world.issuer.revoke(key.id, key.account_id, revoker_key_id=key.id)
    assert await refusal(removal) is Code.CONFLICT
    second = await add(world, token, other)
    await world.issuer.revoke(key.id, key.account_id, revoker_key_id=second)
    assert await world.ended(token)
    assert await refusal(world.issuer.revoke(second, key.account_id, revoker_key_id=second)) is Code.CONFLICT


async def test_what_is_done_with_a_wallet_counts_against_the_key_that_added_it(world: World) -> None:
    wallet = SoftwareWallet()
    account, key, token = await world.owner(requests_per_minute=7, monthly_credit_cap=500)
    await add(world, token, wallet)
    entered = await world.key_of(await sign_in(world, wallet))
    assert (entered.counted_as, entered.ancestors, entered.created_by) == (key.id, (), key.id)
    assert (entered.rates, entered.caps, entered.endpoints) == (key.rates, key.caps, key.endpoints)
    # A thief's wallet goes with the stolen key.
    revoked = await world.issuer.revoke(key.id, account.id, descendants=True)
    assert {each.id for each in revoked} == {key.id, entered.id}
    assert await refusal(sign_in(world, wallet)) is Code.UNAUTHENTICATED


async def test_the_wallet_of_a_suspended_account_is_refused_and_not_free(world: World) -> None:
    wallet = SoftwareWallet()
    key = await world.key_of(await sign_up(world, wallet))
    await world.accounts.suspend(key.account_id)
    assert await refusal(sign_in(world, wallet)) is Code.PERMISSION_DENIED
    challenge = await world.wallets.begin_sign_up(SITE, BROWSER, wallet.address, "again")
    assert await refusal(world.wallets.sign_up(BROWSER, signed(challenge, wallet), "")) is Code.CONFLICT
    await world.accounts.resume(key.account_id)
    assert not await world.ended(await sign_in(world, wallet))


async def test_a_wallet_that_is_added_takes_the_place_of_a_recovery_code(world: World) -> None:
    wallet = SoftwareWallet()
    _, _, token = await world.owner()
    code = await world.recovery_codes.create(token)
    recovered, _ = await world.recovery_codes.sign_in(code, "")
    challenge = await world.wallets.begin_adding(SITE, recovered, wallet.address)
    added, new_token = await world.wallets.add(recovered, signed(challenge, wallet), "new")
    assert await world.ended(recovered)
    assert await world.key_of(new_token) == added.key


async def test_too_many_wallets_are_refused(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    assert MOST_WALLETS == 50
    monkeypatch.setattr("services.auth.sign_in.wallets.MOST_WALLETS", 2)
    _, _, token = await world.owner()
    for _ in range(2):
        await add(world, token, SoftwareWallet())
    assert await refusal(world.wallets.begin_adding(SITE, token, KNOWN.address)) is Code.CONFLICT


async def test_a_manager_that_is_left_lets_the_wallet_go(world: World) -> None:
    key = await world.key_of(await sign_up(world, SoftwareWallet()))
    _, manager = await world.issuer.create(key.account_id, Wish(endpoints=("keys",)), creator_key_id=key.id)
    await world.issuer.revoke(key.id, key.account_id, revoker_key_id=key.id)
    assert (await world.issuer.get(manager.id)).revoked_at_ms == 0


@pytest.mark.parametrize("address", ["", "0x", "0x" + "g" * 40, "0x" + "a" * 39, "0x" + "a" * 41, KNOWN.address + "\n"])
async def test_what_is_no_address_is_refused(world: World, address: str) -> None:
    assert await refusal(world.wallets.begin_sign_in(SITE, BROWSER, address)) is Code.INVALID_REQUEST


@pytest.mark.parametrize("chain_id", [0, -1, 2**53])
async def test_what_is_no_chain_is_refused(world: World, chain_id: int) -> None:
    begin = world.wallets.begin_sign_in(Site(CONSOLE.origin, chain_id), BROWSER, KNOWN.address)
    assert await refusal(begin) is Code.INVALID_REQUEST


@pytest.mark.parametrize(
    ("signature", "code"),
    [
        ("", Code.INVALID_REQUEST),
        ("0x", Code.INVALID_REQUEST),
        ("0x" + "ab" * 64, Code.INVALID_REQUEST),
        ("0x" + "zz" * 65, Code.INVALID_REQUEST),
        # Contracts answer with more.
        ("0x" + "ab" * 96, Code.INVALID_REQUEST),
        ("0x" + "00" * 65, Code.PERMISSION_DENIED),
        ("0x" + "ff" * 65, Code.PERMISSION_DENIED),
        ("0x" + "ab" * 64 + "1b", Code.PERMISSION_DENIED),
        ("0x" + "ff" * 64 + "1b", Code.PERMISSION_DENIED),
    ],
)
async def test_what_is_no_signature_is_refused(world: World, signature: str, code: Code) -> None:
    challenge = await world.wallets.begin_sign_in(SITE, BROWSER, KNOWN.address)
    answer = Signed(challenge.challenge.hex(), signature)
    assert await refusal(world.wallets.sign_in(BROWSER, answer, "")) is code


@pytest.mark.parametrize("nonce", ["", "0" * 63, "0" * 65, "G" * 64])
async def test_what_is_no_nonce_is_refused(world: World, nonce: str) -> None:
    answer = Signed(nonce, KNOWN.sign("anything"))
    assert await refusal(world.wallets.sign_in(BROWSER, answer, "")) is Code.INVALID_REQUEST


def test_hardware_wallets_number_recoveries_from_zero() -> None:
    signature = bytes.fromhex(KNOWN.sign("hello")[2:])
    for last in (signature[64], signature[64] - 27):
        assert with_checksum(signer_of("hello", signature[:64] + bytes([last]))) == KNOWN.address
