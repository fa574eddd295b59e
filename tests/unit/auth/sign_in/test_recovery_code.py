"""Recovery codes: good once, for a short time, for one purpose."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from services.auth.issuing.rights import Wish
from services.auth.sign_in.recovery_code import SESSION_SECONDS, new_code
from services.common.errors import Code, MeshError
from tests.support.authenticator import Authenticator
from tests.unit.auth.sign_in.conftest import CONSOLE, World


async def works(world: World, code: str) -> str:
    """Returns the token of the session that a code begins; empty if it is refused."""
    try:
        return (await world.recovery_codes.sign_in(code, "Firefox"))[0]
    except MeshError as error:
        if error.code is not Code.UNAUTHENTICATED:
            raise
        return ""


def everything_in(folder: Path) -> bytes:
    """Returns what is in the files of the database, its journal too."""
    return b"".join(path.read_bytes() for path in folder.glob("auth.db*"))


def test_a_code_is_easy_to_copy_and_hard_to_guess() -> None:
    codes = [new_code() for _ in range(200)]
    assert all(re.fullmatch(r"([0-9A-HJKMNP-TV-Z]{5}-){4}[0-9A-HJKMNP-TV-Z]{5}", code) for code in codes)
    # Each of the 25 places has taken many values, so that no bit is lost.
    assert all(len({code[place] for code in codes}) > 20 for place in range(29) if codes[0][place] != "-")


async def test_a_code_works_once(world: World) -> None:
    account, _, token = await world.owner()
    code = await world.recovery_codes.create(token)
    assert await world.recovery_codes.created_at_ms(account.id) == round(world.clock() * 1000)
    session = await world.sessions.find(await works(world, code))
    assert (session.session.account_id, session.standing_on.hint) == (account.id, "recovery code")
    assert await works(world, code) == ""
    assert await world.recovery_codes.created_at_ms(account.id) == 0


@pytest.mark.parametrize(
    "spelled", [str.lower, lambda code: code.replace("-", " "), lambda code: code.replace("-", "")]
)
async def test_a_code_may_be_spelled_as_people_do(world: World, spelled: object) -> None:
    _, _, token = await world.owner()
    code = await world.recovery_codes.create(token)
    assert callable(spelled)
    text = spelled(code).replace("0", "O").replace("1", "l")
    assert await works(world, text)


async def test_a_new_code_replaces_the_one_before(world: World) -> None:
    account, _, token = await world.owner()
    first, second = [await world.recovery_codes.create(token) for _ in range(2)]
    assert await works(world, first) == ""
    keys = [key for key in await world.issuer.list(account.id) if not key.has_secret]
    assert sorted(key.works(round(world.clock() * 1000)) for key in keys) == [False, True]
    assert await works(world, second)


@pytest.mark.parametrize("text", ["", "-", "x" * 101, "00000-00000-00000-00000-00000", "\0", "é" * 25])
async def test_what_is_no_code_is_refused(world: World, text: str) -> None:
    _, _, token = await world.owner()
    await world.recovery_codes.create(token)
    assert await works(world, text) == ""


async def test_its_session_is_short(world: World) -> None:
    _, _, token = await world.owner()
    recovered = await works(world, await world.recovery_codes.create(token))
    world.clock.advance(SESSION_SECONDS - 1)
    assert not await world.ended(recovered)
    world.clock.advance(1)
    assert await world.ended(recovered)


async def test_a_passkey_that_is_added_takes_the_place_of_the_code(world: World, authenticator: Authenticator) -> None:
    account, key, token = await world.owner(requests_per_minute=9)
    recovered = await works(world, await world.recovery_codes.create(token))
    options = await world.passkeys.begin_adding(CONSOLE, recovered)
    added, new_token = await world.passkeys.add(recovered, authenticator.create(options), "new phone")
    assert await world.ended(recovered)
    assert await world.key_of(new_token) == added.key
    # The limits are those of the key with which it all began.
    assert added.key is not None
    assert added.key.rates == ((key.id, 9),)
    assert not await world.ended(await world.sign_in(authenticator))
    left = [each for each in await world.issuer.list(account.id) if each.hint == "recovery code"]
    assert [bool(each.revoked_at_ms) for each in left] == [True]


async def test_a_key_that_is_got_takes_the_place_of_the_code(world: World) -> None:
    account, key, token = await world.owner(requests_per_minute=9)
    recovered = await works(world, await world.recovery_codes.create(token))
    own = await world.key_of(recovered)
    secret, new, _ = await world.issuer.rotate(own.id, 0, account_id=account.id, rotator_key_id=own.id)
    assert await world.ended(recovered)
    assert (new.has_secret, new.rates, new.endpoints) == (True, ((key.id, 9),), key.endpoints)
    assert not await world.ended((await world.sessions.create(secret, ""))[0])


async def test_a_code_is_worth_no_more_than_its_key(world: World) -> None:
    account, _, token = await world.owner()
    code = await world.recovery_codes.create(token)
    [key] = [each for each in await world.issuer.list(account.id) if not each.has_secret]
    await world.issuer.revoke(key.id, account.id)
    # Nobody relies on a code that does not work.
    assert await world.recovery_codes.created_at_ms(account.id) == 0
    assert await works(world, code) == ""
    _, chats = await world.issuer.create(account.id, Wish())
    with pytest.raises(MeshError) as caught:
        await world.sessions.begin(account.id, chats.id, "")
    assert caught.value.code is Code.UNAUTHENTICATED


async def test_a_code_ends_with_the_key_that_signed_in(world: World) -> None:
    account, _, token = await world.owner(expires_at_ms=round((world.clock() + 60) * 1000))
    code = await world.recovery_codes.create(token)
    world.clock.advance(59)
    assert await world.recovery_codes.created_at_ms(account.id) > 0
    world.clock.advance(1)
    assert await world.recovery_codes.created_at_ms(account.id) == 0
    assert await works(world, code) == ""


async def test_only_its_digest_is_kept(world: World, tmp_path: Path) -> None:
    _, _, token = await world.owner()
    code = await world.recovery_codes.create(token)
    written = everything_in(tmp_path)
    assert b"recovery code" in written
    assert code.encode() not in written
    assert code.replace("-", "").encode() not in written
