from __future__ import annotations

import pytest

from services.common.catalog import Model
from services.common.errors import Code, MeshError
from services.common.scopes import ENDPOINTS, MANAGEMENT, ORDINARY, Scope
from services.edge.authentication import Principal
from services.edge.scopes import check_endpoint, check_model, may_use_model

PRO = Model(id="pro", kind="chat", tier="pro", price=1, context=4096)


def principal(*, models: tuple[str, ...] = (), endpoints: tuple[str, ...] = ()) -> Principal:
    return Principal("key_1", "acct_1", models, endpoints)


def test_a_key_without_scopes_may_use_everything_but_management() -> None:
    for endpoint in ORDINARY:
        check_endpoint(principal(), endpoint)
    with pytest.raises(MeshError) as caught:
        check_endpoint(principal(), MANAGEMENT)
    assert caught.value.code is Code.PERMISSION_DENIED
    assert "'keys'" in caught.value.message


@pytest.mark.parametrize("endpoint", ENDPOINTS)
def test_a_key_with_one_scope_has_that_one_alone(endpoint: Scope) -> None:
    one = principal(endpoints=(endpoint,))
    check_endpoint(one, endpoint)
    for other in set(ENDPOINTS) - {endpoint}:
        with pytest.raises(MeshError, match=f"'{other}'.* has: {endpoint}"):
            check_endpoint(one, other)


def test_models_are_all_or_those_of_the_list() -> None:
    check_model(principal(), PRO)
    check_model(principal(models=("pro", "max")), PRO)
    assert not may_use_model(principal(models=("max",)), PRO)
    with pytest.raises(MeshError, match="'pro'; it has: max") as caught:
        check_model(principal(models=("max",)), PRO)
    assert (caught.value.code, caught.value.param) == (Code.PERMISSION_DENIED, "model")
