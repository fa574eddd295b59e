"""Looks at the edge as a customer sees it: whether it answers, what it sells, and what time it has."""

from __future__ import annotations

from email.utils import parsedate_to_datetime
from typing import Any

from services.cli.doctor.finding import Finding, failed, ok, warning
from services.common.clock import Clock

CHECK = "edge"
_TIMEOUT_SECONDS = 5.0
# The header counts whole seconds, and the answer takes its time.
_TOLERATED_SKEW = 3.0


async def look_at_edge(base_url: str, api_key: str, clock: Clock) -> list[Finding]:
    """Asks for the models; without a key, a 401 proves as much as it can. `base_url` ends in /v1."""
    # It takes longer to import than most commands run.
    import aiohttp

    url = f"{base_url}/models"
    headers = {"Authorization": f"Bearer {api_key}"} if api_key else {}
    timeout = aiohttp.ClientTimeout(total=_TIMEOUT_SECONDS)
    try:
        async with aiohttp.ClientSession(timeout=timeout) as http, http.get(url, headers=headers) as response:
            now = clock()
            skew = _clock_skew(base_url, response.headers.get("Date", ""), now)
            if response.status == 401 and not api_key:
                fix = "set TIERMESH_API_KEY to a key to check its models"
                return [warning(CHECK, url, "replies, but requires a key", fix), skew]
            if response.status != 200:
                return [
                    failed(CHECK, url, f"replies with status {response.status}", "see the checks of auth and router"),
                    skew,
                ]
            return [_models(url, await response.json()), skew]
    except TimeoutError:
        return [failed(CHECK, url, f"does not reply within {_TIMEOUT_SECONDS:g} s", "read its log")]
    except (aiohttp.ClientError, ValueError) as error:
        fix = "start the edge, and check its address and the ingress before it"
        return [failed(CHECK, url, f"cannot be reached ({type(error).__name__})", fix)]


def _models(url: str, content: Any) -> Finding:
    models = content.get("data", []) if isinstance(content, dict) else []
    if not models:
        return failed(CHECK, url, "sells no models", "set TIERMESH_EDGE_CATALOG_FILE to a catalog with models")
    available = sum(bool(model.get("available")) for model in models)
    return ok(CHECK, url, f"replies, {available} of {len(models)} models available")


def _clock_skew(base_url: str, date: str, now: float) -> Finding:
    try:
        skew = now - parsedate_to_datetime(date).timestamp()
    except ValueError:
        return warning(
            "clock", base_url, "does not send its time", "let the proxy before the edge forward the Date header"
        )
    # A time of whole seconds is up to one second old.
    if abs(skew - 0.5) <= _TOLERATED_SKEW:
        return ok("clock", base_url, "agrees with this machine")
    fix = "synchronise the clocks with NTP: certificates and expiring keys depend on them"
    return failed("clock", base_url, f"differs from this machine by {skew:.0f} s", fix)
