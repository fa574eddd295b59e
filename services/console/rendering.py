"""Turns templates into pages."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import jinja2
from aiohttp import web

from services.common.scopes import ENDPOINTS, MANAGEMENT, ORDINARY
from services.common.version import VERSION
from services.console.sign_in.hints import WITHOUT_SECRET
from services.console.visit import Visit

_FOLDER = Path(__file__).parent
STATIC = _FOLDER / "static"
TEMPLATES = _FOLDER / "templates"
_CREDITS_PER_DOLLAR = 100


class Renderer:
    """Renders templates. Every value is escaped: no template may say otherwise.

    `menu` has the paths of the pages that people choose from, with what they are called. A template in the folder
    `area` counts before the one of the same name that everybody uses.
    """

    def __init__(self, menu: Sequence[tuple[str, str]], area: str = "", **known: Any) -> None:
        folders = [TEMPLATES / area, TEMPLATES] if area else [TEMPLATES]
        self._environment = jinja2.Environment(
            loader=jinja2.FileSystemLoader(folders),
            autoescape=True,
            undefined=jinja2.StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self._environment.globals.update(version=VERSION, static=_static_urls(), without_secret=WITHOUT_SECRET)
        self._environment.globals.update(menu=menu, area=area, **known)
        self._environment.filters.update(number=_number, dollars=_dollars, moment=_moment, iso=_iso, scopes=_scopes)

    def page(self, template: str, visit: Visit | None, *, status: int = 200, **context: Any) -> web.Response:
        """Returns the page of a template; `visit` is None if nothing is known of who asks."""
        text = self._environment.get_template(f"{template}.html").render(visit=visit, **context)
        return web.Response(text=text, status=status, content_type="text/html")


def _static_urls() -> dict[str, str]:
    """Returns the URL of each file, which changes with its content, so that browsers may keep it for ever."""
    return {path.name: f"/static/{_digest(path)}/{path.name}" for path in sorted(STATIC.iterdir()) if path.is_file()}


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()[:16]


def _number(value: int) -> str:
    return f"{value:,}"


def _dollars(amount: int) -> str:
    """Returns what so many credits are worth, such as "$12.50"; a credit is one US cent."""
    dollars, cents = divmod(abs(amount), _CREDITS_PER_DOLLAR)
    return f"{'-' if amount < 0 else ''}${dollars:,}.{cents:02}"


def _scopes(endpoints: Collection[str]) -> str:
    """Returns what a key may use, in few words where there are some."""
    if set(endpoints or ORDINARY) == set(ORDINARY):
        return f"all scopes except {MANAGEMENT}"
    return "all scopes" if set(endpoints) == set(ENDPOINTS) else ", ".join(endpoints)


def _moment(milliseconds: int, otherwise: str = "never") -> str:
    """Returns a time since the Unix epoch as UTC, to the minute; `otherwise` for 0, which stands for never."""
    return f"{_utc(milliseconds):%Y-%m-%d %H:%M} UTC" if milliseconds else otherwise


def _iso(milliseconds: int) -> str:
    return _utc(milliseconds).isoformat(timespec="seconds")


def _utc(milliseconds: int) -> datetime:
    """Returns a moment; one that no calendar has, as an expiry may be, is the last one that it has."""
    try:
        return datetime.fromtimestamp(milliseconds / 1000, UTC)
    except (ValueError, OverflowError, OSError):
        return datetime.max.replace(tzinfo=UTC)
