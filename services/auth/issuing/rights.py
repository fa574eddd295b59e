"""What a new key may do: what is asked for, what makes sense, and what the key that asks may pass on."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from services.auth.keys import ApiKey
from services.auth.lineage import MAX_ANCESTORS, Ancestor
from services.common.catalog import Catalog
from services.common.errors import Code, MeshError
from services.common.scopes import ENDPOINTS, MANAGEMENT, ORDINARY, may_use

# Larger numbers are not exact in every JSON reader.
MAX_CREDITS = 2**53 - 1


@dataclass(frozen=True, slots=True)
class Wish:
    """What is asked of a new key. None and empty mean that nothing was said about it."""

    name: str = ""
    models: tuple[str, ...] = ()
    endpoints: tuple[str, ...] = ()
    # 0 means no limit.
    requests_per_minute: int | None = None
    # Credits in one calendar month (UTC); 0 means no cap.
    monthly_credit_cap: int | None = None
    # Milliseconds since the Unix epoch; 0 means never.
    expires_at_ms: int = 0


def check_wish(wish: Wish, catalog: Catalog) -> Wish:
    """Returns the wish with models by their ids; raises MeshError INVALID_REQUEST for what does not exist."""
    if not 0 <= (wish.monthly_credit_cap or 0) <= MAX_CREDITS:
        message = f"The monthly cap is a number of credits from 0, for none, to {MAX_CREDITS}."
        raise MeshError(Code.INVALID_REQUEST, message, param="monthly_credit_cap")
    for endpoint in wish.endpoints:
        if endpoint not in ENDPOINTS:
            message = f"There is no endpoint {endpoint[:40]!r}; a key can be given: {', '.join(ENDPOINTS)}."
            raise MeshError(Code.INVALID_REQUEST, message, param="endpoints")
    models = _once(_model_id(name, catalog) for name in wish.models)
    return replace(wish, models=models, endpoints=_once(wish.endpoints))


def passed_on(wish: Wish, creator: ApiKey, default_requests_per_minute: int) -> Wish:
    """Returns the wish with the creator's limits where it says nothing.

    Raises MeshError PERMISSION_DENIED for anything beyond the creator's own rights.
    """
    if not may_use(creator.endpoints, MANAGEMENT):
        raise MeshError(Code.PERMISSION_DENIED, f"The calling key lacks the scope '{MANAGEMENT}'.")
    rate = wish.requests_per_minute
    if rate is None:
        rate = lower(default_requests_per_minute, creator.requests_per_minute)
    cap = wish.monthly_credit_cap
    return replace(
        wish,
        models=_subset("models", wish.models, creator.models, inherited=creator.models),
        endpoints=_endpoints(wish, creator),
        requests_per_minute=_within("requests_per_minute", rate, creator.requests_per_minute),
        monthly_credit_cap=_within(
            "monthly_credit_cap", creator.monthly_credit_cap if cap is None else cap, creator.monthly_credit_cap
        ),
        expires_at_ms=_expiry(wish.expires_at_ms or creator.expires_at_ms, creator),
    )


def check_may_revoke(revoker: ApiKey, target: ApiKey) -> None:
    """Raises MeshError PERMISSION_DENIED unless one key may revoke another of its account.

    A key may revoke itself, its descendants, and others whose rights are among its own. It may not revoke those that
    it descends from: a stolen key must not lock out its maker.
    """
    if not may_use(revoker.endpoints, MANAGEMENT):
        raise MeshError(Code.PERMISSION_DENIED, f"The calling key lacks the scope '{MANAGEMENT}'.")
    if target.id == revoker.id or target.descends_from(revoker):
        return
    if revoker.descends_from(target):
        message = "The calling key was made by this one, or by a key made by it, so it cannot revoke it."
        raise MeshError(Code.PERMISSION_DENIED, message, param="key_id")
    if beyond := _beyond(revoker, target):
        message = f"The key has rights that the calling key lacks ({', '.join(beyond)}), so it cannot revoke it."
        raise MeshError(Code.PERMISSION_DENIED, message, param="key_id")


def check_may_close(closer: ApiKey, keys: Iterable[ApiKey], now_ms: int) -> None:
    """Raises MeshError PERMISSION_DENIED unless a key may close its account, which stops all these keys.

    It may if it could revoke each of them that works: closing gives it no right. Keys of sessions end anyway.
    """
    for key in keys:
        if key.works(now_ms) and not key.session_id and not _may_revoke(closer, key):
            message = (
                "What you signed in with may not revoke every key of the account, so it cannot close it. "
                "Sign in with a key that has every right, or ask the operator of this service."
            )
            raise MeshError(Code.PERMISSION_DENIED, message)


def _may_revoke(revoker: ApiKey, target: ApiKey) -> bool:
    try:
        check_may_revoke(revoker, target)
    except MeshError:
        return False
    return True


def check_may_rotate(rotator: ApiKey, target: ApiKey) -> None:
    """Raises MeshError PERMISSION_DENIED unless one key may rotate another of its account, and so use it.

    A key may rotate itself and its descendants, all of which count against its limits. Any other key counts alone, so
    only a key without limits may rotate it, and none that it descends from.
    """
    if not may_use(rotator.endpoints, MANAGEMENT):
        raise MeshError(Code.PERMISSION_DENIED, f"The calling key lacks the scope '{MANAGEMENT}'.")
    if target.id == rotator.id or target.descends_from(rotator):
        return
    if rotator.caps or rotator.rates or rotator.descends_from(target) or _beyond(rotator, target):
        message = (
            "The calling key did not make this key, and its own limits do not bind it, so it cannot rotate it. "
            "Revoke it and create a new one, or use a key without limits."
        )
        raise MeshError(Code.PERMISSION_DENIED, message, param="key_id")


def _beyond(holder: ApiKey, other: ApiKey) -> list[str]:
    """Returns the fields in which the other key may do more than the holder."""
    more = {
        "models": bool(holder.models) and not set(other.models or ("",)) <= set(holder.models),
        "endpoints": not set(other.endpoints or ORDINARY) <= set(holder.endpoints or ORDINARY),
    }
    for field in ("requests_per_minute", "monthly_credit_cap", "expires_at_ms"):
        held, wanted = getattr(holder, field), getattr(other, field)
        more[field] = bool(held) and (wanted == 0 or wanted > held)
    return [field for field, exceeds in more.items() if exceeds]


def line_of(creator: ApiKey) -> tuple[Ancestor, ...]:
    """Returns the ancestors of a key that this one makes; raises MeshError PERMISSION_DENIED if they are too many."""
    if len(creator.ancestors) >= MAX_ANCESTORS:
        message = f"The calling key is the last of {MAX_ANCESTORS + 1} that made one another, the most allowed."
        raise MeshError(Code.PERMISSION_DENIED, message)
    own = Ancestor(creator.counted_as, creator.monthly_credit_cap, creator.requests_per_minute)
    return (*creator.ancestors, own)


def _model_id(name: str, catalog: Catalog) -> str:
    model = catalog.get(name)
    if model is None:
        known = ", ".join(model.id for model in catalog.models)
        raise MeshError(Code.INVALID_REQUEST, f"There is no model {name[:100]!r}. Use one of: {known}.", param="models")
    return model.id


def _endpoints(wish: Wish, creator: ApiKey) -> tuple[str, ...]:
    held = creator.endpoints or ORDINARY
    # Management is never passed on unasked.
    inherited = tuple(endpoint for endpoint in creator.endpoints if endpoint != MANAGEMENT)
    if not wish.endpoints and creator.endpoints and not inherited:
        message = "The calling key can only manage keys, and so can a key made by it: set 'endpoints' to [\"keys\"]."
        raise MeshError(Code.PERMISSION_DENIED, message, param="endpoints")
    return _subset("endpoints", wish.endpoints, held, inherited=inherited)


def _subset(
    param: str, wanted: tuple[str, ...], held: tuple[str, ...], *, inherited: tuple[str, ...]
) -> tuple[str, ...]:
    """Returns what is wanted, if `held` has all of it; an empty `held` has everything."""
    if held and (beyond := [name for name in wanted if name not in held]):
        message = f"The calling key has no right to {', '.join(beyond)} in '{param}', so it cannot pass it on."
        raise MeshError(Code.PERMISSION_DENIED, message, param=param)
    return wanted or inherited


def _within(param: str, wanted: int, held: int) -> int:
    """Returns the limit that is wanted, if it is no looser than the one held; 0 is the loosest."""
    if held and (wanted == 0 or wanted > held):
        message = f"The calling key's own '{param}' is {held}; a key made by it cannot have {wanted or 'none'}."
        raise MeshError(Code.PERMISSION_DENIED, message, param=param)
    return wanted


def _expiry(expires_at_ms: int, creator: ApiKey) -> int:
    if 0 < creator.expires_at_ms < expires_at_ms:
        message = "The calling key expires sooner, and a key made by it cannot outlive it."
        raise MeshError(Code.PERMISSION_DENIED, message, param="expires_at_ms")
    return expires_at_ms


def lower(one: int, other: int) -> int:
    """Returns the stricter of two limits; 0 is none."""
    return min(one, other) if one and other else one or other


def _once(names: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(names))
