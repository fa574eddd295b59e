from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from services.auth.issuing.rights import (
    Wish,
    check_may_close,
    check_may_revoke,
    check_may_rotate,
    check_wish,
    line_of,
    passed_on,
)
from services.auth.keys import ApiKey
from services.auth.lineage import MAX_ANCESTORS, Ancestor
from services.common.catalog import Catalog, Model
from services.common.errors import Code, MeshError
from services.common.scopes import ORDINARY
from tests.unit.auth.keys_for_tests import api_key

ALL = (*ORDINARY, "keys")
CATALOG = Catalog(
    [
        Model(id="pro", kind="chat", tier="pro", price=1, context=4096, aliases=("default",)),
        Model(id="max", kind="chat", tier="max", price=2, context=4096),
    ]
)


def test_models_are_kept_by_their_ids_and_once() -> None:
    wish = check_wish(Wish(models=("default", "max", "pro"), endpoints=("chat", "chat")), CATALOG)
    assert (wish.models, wish.endpoints) == (("pro", "max"), ("chat",))


@pytest.mark.parametrize(
    ("wish", "param", "advice"),
    [
        (Wish(models=("gpt-9",)), "models", "pro, max"),
        (Wish(endpoints=("chats",)), "endpoints", ", ".join(ALL)),
        (Wish(monthly_credit_cap=-1), "monthly_credit_cap", "from 0"),
        (Wish(monthly_credit_cap=2**53), "monthly_credit_cap", "from 0"),
    ],
)
def test_what_does_not_exist_is_refused_with_what_does(wish: Wish, param: str, advice: str) -> None:
    with pytest.raises(MeshError) as caught:
        check_wish(wish, CATALOG)
    assert (caught.value.code, caught.value.param) == (Code.INVALID_REQUEST, param)
    assert advice in caught.value.message


def test_an_unlimited_creator_may_pass_on_everything_but_defaults_stay() -> None:
    creator = api_key(endpoints=ALL)
    assert passed_on(Wish(), creator, 60) == Wish(endpoints=ORDINARY, requests_per_minute=60, monthly_credit_cap=0)
    everything = Wish("x", ("pro",), ALL, 0, 0, 99)
    assert passed_on(everything, creator, 60) == everything


def test_where_nothing_is_said_the_creators_limits_hold() -> None:
    creator = api_key(
        models=("pro",), endpoints=("chat", "keys"), requests_per_minute=7, monthly_credit_cap=100, expires_at_ms=50
    )
    wish = passed_on(Wish(), creator, 60)
    assert wish == Wish("", ("pro",), ("chat",), 7, 100, 50)
    # The service's default is stricter than a creator with a higher limit.
    assert passed_on(Wish(), api_key(endpoints=ALL, requests_per_minute=500), 60).requests_per_minute == 60
    assert passed_on(Wish(), api_key(endpoints=ALL, requests_per_minute=500), 0).requests_per_minute == 500


@pytest.mark.parametrize(
    ("wish", "param"),
    [
        (Wish(models=("pro", "max")), "models"),
        (Wish(endpoints=("chat", "balance")), "endpoints"),
        (Wish(requests_per_minute=8), "requests_per_minute"),
        (Wish(requests_per_minute=0), "requests_per_minute"),
        (Wish(monthly_credit_cap=101), "monthly_credit_cap"),
        (Wish(monthly_credit_cap=0), "monthly_credit_cap"),
        (Wish(expires_at_ms=51), "expires_at_ms"),
    ],
)
def test_nothing_beyond_the_creators_rights_is_passed_on(wish: Wish, param: str) -> None:
    creator = api_key(
        models=("pro",), endpoints=("chat", "keys"), requests_per_minute=7, monthly_credit_cap=100, expires_at_ms=50
    )
    with pytest.raises(MeshError) as caught:
        passed_on(wish, creator, 60)
    assert (caught.value.code, caught.value.param) == (Code.PERMISSION_DENIED, param)


def test_a_key_for_management_alone_passes_on_management_alone() -> None:
    creator = api_key(endpoints=("keys",))
    with pytest.raises(MeshError, match="endpoints"):
        passed_on(Wish(), creator, 60)
    assert passed_on(Wish(endpoints=("keys",)), creator, 60).endpoints == ("keys",)


@pytest.mark.parametrize("endpoints", [(), ("chat",)])
def test_without_the_management_scope_nothing_is_passed_on(endpoints: tuple[str, ...]) -> None:
    with pytest.raises(MeshError) as caught:
        passed_on(Wish(), api_key(endpoints=endpoints), 60)
    assert caught.value.code is Code.PERMISSION_DENIED


MANAGER = api_key(
    id="key_1",
    models=("pro",),
    endpoints=("chat", "keys"),
    requests_per_minute=7,
    monthly_credit_cap=100,
    expires_at_ms=50,
)


@pytest.mark.parametrize(
    ("fields", "right"),
    [
        ({"models": ()}, "models"),
        ({"models": ("pro", "max")}, "models"),
        ({"endpoints": ()}, "endpoints"),
        ({"endpoints": ("balance",)}, "endpoints"),
        ({"requests_per_minute": 8}, "requests_per_minute"),
        ({"requests_per_minute": 0}, "requests_per_minute"),
        ({"monthly_credit_cap": 101}, "monthly_credit_cap"),
        ({"monthly_credit_cap": 0}, "monthly_credit_cap"),
        ({"expires_at_ms": 51}, "expires_at_ms"),
        ({"expires_at_ms": 0}, "expires_at_ms"),
    ],
)
def test_a_stronger_key_is_not_revoked_but_a_descendant_is(fields: dict[str, Any], right: str) -> None:
    stronger = replace(MANAGER, id="key_2", **fields)
    with pytest.raises(MeshError, match=right) as caught:
        check_may_revoke(MANAGER, stronger)
    assert (caught.value.code, caught.value.param) == (Code.PERMISSION_DENIED, "key_id")
    # It can have such rights after a rotation, whose overlap shortens the life of its maker.
    check_may_revoke(MANAGER, replace(stronger, ancestors=(Ancestor("key_1", 0, 0),)))
    check_may_revoke(replace(MANAGER, id="key_9", origin="key_1"), replace(stronger, ancestors=line_of(MANAGER)))


@pytest.mark.parametrize(
    "fields", [{}, {"endpoints": ("chat",)}, {"requests_per_minute": 1}, {"monthly_credit_cap": 1, "expires_at_ms": 1}]
)
def test_a_key_revokes_itself_and_what_it_could_have_made(fields: dict[str, Any]) -> None:
    check_may_revoke(MANAGER, MANAGER)
    check_may_revoke(MANAGER, replace(MANAGER, id="key_2", **fields))


def test_an_unlimited_manager_revokes_everything_but_its_makers() -> None:
    everything = api_key(id="key_1", endpoints=ALL)
    for other in (MANAGER, api_key(endpoints=()), everything):
        check_may_revoke(everything, replace(other, id="key_2"))
    child = replace(everything, id="key_2", ancestors=line_of(everything))
    for maker in (everything, replace(everything, id="key_3", origin="key_1")):
        with pytest.raises(MeshError, match="was made by this one") as caught:
            check_may_revoke(child, maker)
        assert caught.value.code is Code.PERMISSION_DENIED
    check_may_revoke(everything, child)


@pytest.mark.parametrize("endpoints", [(), ("chat",)])
def test_without_the_management_scope_nothing_is_revoked(endpoints: tuple[str, ...]) -> None:
    key = api_key(endpoints=endpoints)
    with pytest.raises(MeshError, match="scope 'keys'"):
        check_may_revoke(key, key)


def test_a_line_of_keys_is_bounded() -> None:
    key = MANAGER
    for number in range(MAX_ANCESTORS):
        key = replace(key, id=f"key_{number}", ancestors=line_of(key))
    assert len(key.ancestors) == MAX_ANCESTORS
    with pytest.raises(MeshError, match="the most allowed") as caught:
        line_of(key)
    assert caught.value.code is Code.PERMISSION_DENIED


def test_a_key_rotates_itself_and_what_it_has_made() -> None:
    rotator = api_key(id="key_1", endpoints=ALL, requests_per_minute=7, monthly_credit_cap=100)
    made = api_key(id="key_2", endpoints=ORDINARY, ancestors=line_of(rotator))
    check_may_rotate(rotator, rotator)
    check_may_rotate(rotator, made)


@pytest.mark.parametrize(
    ("rotator", "target"),
    [
        # Its own limits would not bind the successor.
        ({"requests_per_minute": 7}, {"requests_per_minute": 7}),
        ({"monthly_credit_cap": 100}, {"monthly_credit_cap": 100}),
        # The successor could do more.
        ({"models": ("pro",)}, {}),
        ({"endpoints": ("keys",)}, {}),
        ({"expires_at_ms": 50}, {}),
        # It does not manage.
        ({"endpoints": ()}, {}),
    ],
)
def test_a_key_rotates_no_other_that_would_escape_its_limits(rotator: dict[str, Any], target: dict[str, Any]) -> None:
    with pytest.raises(MeshError) as caught:
        check_may_rotate(api_key(**{"id": "key_1", "endpoints": ALL, **rotator}), api_key(id="key_2", **target))
    assert caught.value.code is Code.PERMISSION_DENIED


def test_a_key_without_limits_rotates_others_but_not_its_ancestors() -> None:
    ancestor = api_key(id="key_1", endpoints=ALL)
    rotator = api_key(id="key_2", endpoints=ALL, ancestors=line_of(ancestor))
    check_may_rotate(rotator, api_key(id="key_3", endpoints=ALL))
    with pytest.raises(MeshError) as caught:
        check_may_rotate(rotator, ancestor)
    assert caught.value.code is Code.PERMISSION_DENIED


@pytest.mark.parametrize(
    ("other", "allowed"),
    [
        (api_key(id="key_2", requests_per_minute=5), True),
        (api_key(id="key_2", requests_per_minute=4, endpoints=ALL), True),
        (api_key(id="key_2", ancestors=(Ancestor("key_1", 0, 5),)), True),
        # What does not work any more, or belongs to a session, is stopped anyway.
        (api_key(id="key_2", revoked_at_ms=1), True),
        (api_key(id="key_2", expires_at_ms=100), True),
        (api_key(id="key_2", session_id="sess_1"), True),
        (api_key(id="key_2"), False),
        (api_key(id="key_2", requests_per_minute=6), False),
        (api_key(id="key_2", expires_at_ms=101), False),
    ],
)
def test_a_key_closes_the_account_only_if_it_may_revoke_every_key_that_works(other: ApiKey, allowed: bool) -> None:
    closer = api_key(endpoints=ALL, requests_per_minute=5)
    keys = [closer, other]
    if allowed:
        check_may_close(closer, keys, 100)
        return
    with pytest.raises(MeshError) as caught:
        check_may_close(closer, keys, 100)
    assert caught.value.code is Code.PERMISSION_DENIED


def test_a_key_that_another_has_made_does_not_close_the_account_of_its_maker() -> None:
    maker = api_key(endpoints=ALL)
    made = api_key(id="key_2", endpoints=ALL, ancestors=(Ancestor("key_1", 0, 0),))
    check_may_close(maker, [maker, made], 100)
    with pytest.raises(MeshError):
        check_may_close(made, [maker, made], 100)
