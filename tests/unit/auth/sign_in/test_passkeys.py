"""What passkeys do, and every way to use one that is not their owner's."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from dataclasses import replace

import pytest

from services.auth.issuing.rights import Wish
from services.auth.sign_in.challenge import LIFETIME, RelyingParty
from services.auth.sign_in.passkeys import MOST_PASSKEYS
from services.common.errors import Code, MeshError
from services.common.scopes import ENDPOINTS
from tests.support.authenticator import FLAG, Authenticator
from tests.unit.auth.sign_in.conftest import BROWSER, CONSOLE, RATE, World


async def refusal(work: Awaitable[object]) -> Code:
    with pytest.raises(MeshError) as caught:
        await work
    return caught.value.code


async def test_an_account_is_opened_and_entered_with_a_passkey(world: World, authenticator: Authenticator) -> None:
    first = await world.sessions.find(await world.sign_up(authenticator, "Zoë <b>"))
    assert (first.account_name, first.session.label) == ("Zoë <b>", "Firefox")
    key = first.standing_on
    # Nobody has set limits for this customer, so the usual ones bind all that descends from the passkey.
    assert (key.endpoints, key.requests_per_minute, key.has_secret, key.hint) == (ENDPOINTS, RATE, False, "passkey")
    second = await world.sessions.find(await world.sign_in(authenticator))
    assert (second.session.account_id, second.session.key_id) == (first.session.account_id, key.id)
    assert world.used == [key.id, key.id]
    [listed] = await world.passkeys.list(key.account_id)
    assert listed.key == key


async def test_the_options_demand_a_credential_that_is_found_without_a_name_and_verifies_the_person(
    world: World,
) -> None:
    options = json.loads(await world.passkeys.begin_sign_up(CONSOLE, BROWSER, "Zoë"))
    selection = options["authenticatorSelection"]
    assert (selection["residentKey"], selection["userVerification"]) == ("required", "required")
    assert (options["rp"]["id"], options["attestation"], options["timeout"]) == ("example.org", "none", 300_000)
    assert [each["alg"] for each in options["pubKeyCredParams"]] == [-7, -8, -257]
    options = json.loads(await world.passkeys.begin_sign_in(CONSOLE, BROWSER))
    assert (options["userVerification"], options["rpId"]) == ("required", "example.org")
    assert not options.get("allowCredentials")


async def test_what_is_done_with_a_passkey_counts_against_the_key_that_added_it(
    world: World, authenticator: Authenticator
) -> None:
    account, key, token = await world.owner(requests_per_minute=7, monthly_credit_cap=500)
    added = await world.add(token, authenticator)
    assert (added.counted_as, added.ancestors, added.created_by) == (key.id, (), key.id)
    assert (added.rates, added.caps) == (key.rates, key.caps)
    assert (added.endpoints, added.models, added.expires_at_ms) == (key.endpoints, key.models, key.expires_at_ms)
    entered = await world.key_of(await world.sign_in(authenticator))
    assert entered.id == added.id
    _, made = await world.issuer.create(account.id, Wish(), creator_key_id=added.id)
    assert made.rates == ((key.id, 7),)
    assert await refusal(world.issuer.create(account.id, Wish(requests_per_minute=8), creator_key_id=added.id)) is (
        Code.PERMISSION_DENIED
    )


async def test_a_passkey_lives_no_longer_than_the_key_that_added_it(world: World, authenticator: Authenticator) -> None:
    expiry = round(world.clock() * 1000) + 60_000
    _, _, token = await world.owner(expires_at_ms=expiry)
    assert (await world.add(token, authenticator)).expires_at_ms == expiry
    world.clock.advance(60)
    assert await refusal(world.sign_in(authenticator)) is Code.UNAUTHENTICATED


async def test_a_passkey_outlives_the_key_that_added_it(world: World, authenticator: Authenticator) -> None:
    account, key, token = await world.owner()
    await world.add(token, authenticator)
    entered = await world.sign_in(authenticator)
    await world.issuer.revoke(key.id, account.id, revoker_key_id=(await world.key_of(entered)).id)
    assert [await world.ended(each) for each in (token, entered)] == [True, False]
    assert not await world.ended(await world.sign_in(authenticator))


async def test_a_session_ends_with_its_passkey(world: World, authenticator: Authenticator) -> None:
    token = await world.sign_up(authenticator)
    key = await world.key_of(token)
    other = Authenticator(CONSOLE.origin)
    await world.add(token, other)
    kept = await world.sign_in(other)
    await world.issuer.revoke(key.id, key.account_id, revoker_key_id=(await world.key_of(kept)).id)
    assert [await world.ended(each) for each in (token, kept)] == [True, False]
    assert await refusal(world.sign_in(authenticator)) is Code.UNAUTHENTICATED
    assert [found.passkey.credential_id for found in await world.passkeys.list(key.account_id)] == [
        other.credentials[0].id
    ]


async def test_the_last_way_in_is_not_removed(world: World, authenticator: Authenticator) -> None:
    token = await world.sign_up(authenticator)
    key = await world.key_of(token)
    await world.recovery_codes.create(token)
    await world.issuer.create(key.account_id, Wish(), creator_key_id=key.id)
    for descendants in (False, True):
        removal = world.issuer.revoke(key.id, key.account_id, descendants=descendants, revoker_key_id=key.id)
        assert await refusal(removal) is Code.CONFLICT
    assert not await world.ended(token)
    _, manager = await world.issuer.create(key.account_id, Wish(endpoints=("keys",)), creator_key_id=key.id)
    await world.issuer.revoke(key.id, key.account_id, revoker_key_id=key.id)
    assert await world.ended(token)
    # An operator may remove everything, and a key may always revoke itself: it may have been stolen.
    await world.issuer.revoke(manager.id, key.account_id, revoker_key_id=manager.id)


async def test_revoking_a_stolen_key_with_all_that_it_made_takes_what_the_thief_has_added(
    world: World, authenticator: Authenticator
) -> None:
    account, stolen, token = await world.owner()
    own, thief, accomplice = authenticator, Authenticator(CONSOLE.origin), Authenticator(CONSOLE.origin)
    await world.add(token, own)
    await world.add(token, thief)
    entered = await world.sign_in(thief)
    await world.add(entered, accomplice)
    code = await world.recovery_codes.create(entered)
    owner = await world.sign_in(own)
    revoked = await world.issuer.revoke(
        stolen.id, account.id, descendants=True, revoker_key_id=(await world.key_of(owner)).id
    )
    assert len(revoked) == 4
    assert not await world.ended(owner)
    for each in (thief, accomplice):
        assert await refusal(world.sign_in(each)) is Code.UNAUTHENTICATED
    assert await refusal(world.recovery_codes.sign_in(code, "")) is Code.UNAUTHENTICATED
    assert not await world.ended(await world.sign_in(own))


async def test_a_challenge_is_answered_once(world: World, authenticator: Authenticator) -> None:
    options = await world.passkeys.begin_sign_up(CONSOLE, BROWSER, "Zoë")
    credential = authenticator.create(options)
    await world.passkeys.sign_up(BROWSER, credential, "")
    assert await refusal(world.passkeys.sign_up(BROWSER, credential, "")) is Code.CONFLICT
    options = await world.passkeys.begin_sign_in(CONSOLE, BROWSER)
    signed = authenticator.get(options)
    await world.passkeys.sign_in(BROWSER, signed, "")
    assert await refusal(world.passkeys.sign_in(BROWSER, signed, "")) is Code.CONFLICT
    # Not even with something new that answers it.
    assert await refusal(world.passkeys.sign_in(BROWSER, authenticator.get(options), "")) is Code.CONFLICT


async def test_a_failed_answer_uses_up_its_challenge(world: World, authenticator: Authenticator) -> None:
    await world.sign_up(authenticator)
    options = await world.passkeys.begin_sign_in(CONSOLE, BROWSER)
    authenticator.flags = FLAG.UP
    assert await refusal(world.passkeys.sign_in(BROWSER, authenticator.get(options), "")) is Code.PERMISSION_DENIED
    authenticator.flags = FLAG.UP | FLAG.UV
    assert await refusal(world.passkeys.sign_in(BROWSER, authenticator.get(options), "")) is Code.CONFLICT


async def test_a_challenge_expires_and_is_forgotten(world: World, authenticator: Authenticator) -> None:
    await world.sign_up(authenticator)
    options = await world.passkeys.begin_sign_in(CONSOLE, BROWSER)
    world.clock.advance(LIFETIME)
    assert await refusal(world.passkeys.sign_in(BROWSER, authenticator.get(options), "")) is Code.CONFLICT


async def test_a_browser_has_one_challenge_for_a_purpose(world: World, authenticator: Authenticator) -> None:
    await world.sign_up(authenticator)
    first, second = [await world.passkeys.begin_sign_in(CONSOLE, BROWSER) for _ in range(2)]
    elsewhere = await world.passkeys.begin_sign_in(CONSOLE, "another browser")
    assert await refusal(world.passkeys.sign_in(BROWSER, authenticator.get(first), "")) is Code.CONFLICT
    for browser, options in ((BROWSER, second), ("another browser", elsewhere)):
        token, _ = await world.passkeys.sign_in(browser, authenticator.get(options), "")
        assert not await world.ended(token)


async def test_a_challenge_is_good_in_one_browser(world: World, authenticator: Authenticator) -> None:
    await world.sign_up(authenticator)
    signed = authenticator.get(await world.passkeys.begin_sign_in(CONSOLE, BROWSER))
    assert await refusal(world.passkeys.sign_in("another browser", signed, "")) is Code.CONFLICT
    made = authenticator.create(await world.passkeys.begin_sign_up(CONSOLE, BROWSER, "Zoë"))
    assert await refusal(world.passkeys.sign_up("another browser", made, "")) is Code.CONFLICT


async def test_a_challenge_is_good_for_one_thing(world: World, authenticator: Authenticator) -> None:
    token = await world.sign_up(authenticator)
    passkeys = world.passkeys
    # The browser's token is the same everywhere, so that nothing but the purpose differs.
    begin_signing: list[Callable[[], Awaitable[str]]] = [
        lambda: passkeys.begin_sign_in(CONSOLE, token),
        lambda: passkeys.begin_confirmation(CONSOLE, token),
    ]
    begin_creating: list[Callable[[], Awaitable[str]]] = [
        lambda: passkeys.begin_sign_up(CONSOLE, token, "Zoë"),
        lambda: passkeys.begin_adding(CONSOLE, token),
    ]
    assert await refusal(passkeys.confirm(token, authenticator.get(await begin_signing[0]()))) is Code.CONFLICT
    assert await refusal(passkeys.sign_in(token, authenticator.get(await begin_signing[1]()), "")) is Code.CONFLICT
    other = Authenticator(CONSOLE.origin)
    assert await refusal(passkeys.add(token, other.create(await begin_creating[0]()), "")) is Code.CONFLICT
    assert await refusal(passkeys.sign_up(token, other.create(await begin_creating[1]()), "")) is Code.CONFLICT


@pytest.mark.parametrize(
    "change",
    [
        {"origin": "https://evil.example"},
        {"origin": "https://console.example.org.evil.example"},
        {"origin": "http://console.example.org"},
        {"origin": "https://other.example.org"},
        {"domain": "evil.example"},
        {"domain": "console.example.org"},
        {"flags": FLAG.UP},
        {"flags": FLAG.UV},
        {"cross_origin": True},
    ],
)
async def test_what_was_done_elsewhere_or_without_the_person_is_refused(
    world: World, authenticator: Authenticator, change: dict[str, object]
) -> None:
    await world.sign_up(authenticator)
    evil = replace(authenticator, **change)  # type: ignore[arg-type]  # The table names fields that exist.
    assert await refusal(world.sign_in(evil)) is Code.PERMISSION_DENIED
    assert await refusal(world.sign_up(replace(evil, credentials=[]))) is Code.PERMISSION_DENIED
    assert len(await world.store.list_accounts()) == 1


async def test_a_counter_that_does_not_go_forward_is_refused(world: World, authenticator: Authenticator) -> None:
    await world.sign_up(authenticator)
    await world.sign_in(authenticator)
    for step in (0, -1):
        authenticator.step = step
        assert await refusal(world.sign_in(authenticator)) is Code.PERMISSION_DENIED
    authenticator.step = 3
    await world.sign_in(authenticator)


async def test_an_authenticator_that_does_not_count_is_accepted(world: World, authenticator: Authenticator) -> None:
    authenticator.step = 0
    await world.sign_up(authenticator)
    for _ in range(2):
        await world.sign_in(authenticator)
    authenticator.step = 1
    await world.sign_in(authenticator)
    authenticator.credentials[0].counter = -1
    assert await refusal(world.sign_in(authenticator)) is Code.PERMISSION_DENIED


async def test_another_accounts_credential_signs_in_to_its_own_account_alone(
    world: World, authenticator: Authenticator
) -> None:
    token = await world.sign_up(authenticator)
    other = Authenticator(CONSOLE.origin)
    others = await world.sign_up(other, "other")
    options = await world.passkeys.begin_confirmation(CONSOLE, token)
    assert await refusal(world.passkeys.confirm(token, other.get(options))) is Code.PERMISSION_DENIED
    # One that claims to be of another account is nobody's.
    other.credentials[0].user_handle = authenticator.credentials[0].user_handle
    assert await refusal(world.sign_in(other)) is Code.PERMISSION_DENIED
    # The id of a credential with the key of another one.
    forged = replace(other.credentials[0], id=authenticator.credentials[0].id)
    signed = other.get(await world.passkeys.begin_sign_in(CONSOLE, BROWSER), forged)
    assert await refusal(world.passkeys.sign_in(BROWSER, signed, "")) is Code.PERMISSION_DENIED
    # What was begun in one session is not completed in another.
    made = other.create(await world.passkeys.begin_adding(CONSOLE, others))
    assert await refusal(world.passkeys.add(token, made, "")) is Code.CONFLICT
    assert len(await world.passkeys.list((await world.key_of(token)).account_id)) == 1


async def test_a_credential_is_registered_once(world: World, authenticator: Authenticator) -> None:
    token = await world.sign_up(authenticator)
    options = await world.passkeys.begin_adding(CONSOLE, token)
    assert [each["id"] for each in json.loads(options)["excludeCredentials"]] != []
    # An authenticator that makes the same id all the same, for this account and for another.
    again = Authenticator(CONSOLE.origin)
    same = authenticator.credentials[0].id
    assert await refusal(world.passkeys.add(token, again.create(options, same), "")) is Code.CONFLICT
    options = await world.passkeys.begin_sign_up(CONSOLE, BROWSER, "other")
    assert await refusal(world.passkeys.sign_up(BROWSER, again.create(options, same), "")) is Code.CONFLICT
    assert not await world.ended(await world.sign_in(authenticator))


async def test_only_the_passkey_of_the_session_confirms_it(world: World, authenticator: Authenticator) -> None:
    token = await world.sign_up(authenticator)
    world.clock.advance(300)
    options = await world.passkeys.begin_confirmation(CONSOLE, token)
    assert len(json.loads(options)["allowCredentials"]) == 1
    confirmed = await world.passkeys.confirm(token, authenticator.get(options))
    assert confirmed.session.confirmed_at_ms == round(world.clock() * 1000)
    assert await world.sessions.find(token) == confirmed
    other = Authenticator(CONSOLE.origin)
    await world.add(token, other)
    options = await world.passkeys.begin_confirmation(CONSOLE, token)
    assert await refusal(world.passkeys.confirm(token, other.get(options))) is Code.PERMISSION_DENIED
    _, _, by_key = await world.owner()
    assert await refusal(world.passkeys.begin_confirmation(CONSOLE, by_key)) is Code.PERMISSION_DENIED


async def test_nothing_is_added_to_a_session_that_has_ended_or_whose_key_was_rotated(
    world: World, authenticator: Authenticator
) -> None:
    account, key, token = await world.owner()
    made = authenticator.create(await world.passkeys.begin_adding(CONSOLE, token))
    await world.issuer.rotate(key.id)
    assert await refusal(world.passkeys.add(token, made, "")) is Code.CONFLICT
    await world.sessions.end(account.id)
    assert await refusal(world.passkeys.begin_adding(CONSOLE, token)) is Code.UNAUTHENTICATED
    assert await refusal(world.passkeys.add(token, made, "")) is Code.UNAUTHENTICATED


async def test_an_account_has_so_many_passkeys(
    world: World, authenticator: Authenticator, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert MOST_PASSKEYS > 2
    monkeypatch.setattr("services.auth.sign_in.passkeys.MOST_PASSKEYS", 2)
    token = await world.sign_up(authenticator)
    await world.add(token, authenticator)
    assert await refusal(world.passkeys.begin_adding(CONSOLE, token)) is Code.CONFLICT


@pytest.mark.parametrize(
    "text",
    [
        "",
        "null",
        "[]",
        "{}",
        "x" * 20_000,
        "[" * 9000,
        json.dumps({"rawId": "AA", "id": "AA", "response": {"clientDataJSON": "AA"}}),
        json.dumps({"rawId": "AA", "id": "AA", "response": {"clientDataJSON": "e30", "attestationObject": "oA"}}),
        json.dumps({"rawId": 1, "response": 2}),
    ],
)
async def test_nonsense_is_refused(world: World, text: str) -> None:
    assert await refusal(world.passkeys.sign_in(BROWSER, text, "")) is Code.INVALID_REQUEST
    assert await refusal(world.passkeys.sign_up(BROWSER, text, "")) is Code.INVALID_REQUEST


async def test_a_credential_of_another_kind_than_was_asked_for_is_refused(
    world: World, authenticator: Authenticator
) -> None:
    options = await world.passkeys.begin_sign_up(CONSOLE, BROWSER, "Zoë")
    # ES384 is known to the library, and was not offered.
    authenticator.algorithm = -35
    made = authenticator.create(options)
    assert await refusal(world.passkeys.sign_up(BROWSER, made, "")) is Code.PERMISSION_DENIED


async def test_a_laptop_is_a_relying_party_too(world: World) -> None:
    laptop = RelyingParty("localhost", "http://localhost:8001")
    authenticator = Authenticator(laptop.origin)
    options = await world.passkeys.begin_sign_up(laptop, BROWSER, "Zoë")
    token, _ = await world.passkeys.sign_up(BROWSER, authenticator.create(options), "")
    assert not await world.ended(token)


async def test_rotating_a_passkeys_key_turns_it_into_a_key_with_a_secret(
    world: World, authenticator: Authenticator
) -> None:
    token = await world.sign_up(authenticator)
    key = await world.key_of(token)
    secret, new, _ = await world.issuer.rotate(key.id, 0, account_id=key.account_id, rotator_key_id=key.id)
    assert (new.has_secret, new.rates) == (True, key.rates)
    assert await world.ended(token)
    assert not await world.ended((await world.sessions.create(secret, ""))[0])
