"""Somebody at a browser without scripts: opens pages, fills in the forms that are on them and sends them."""

from __future__ import annotations

import hashlib
import hmac
import html
import re
import secrets
import sqlite3
from collections.abc import Iterable
from contextlib import closing
from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import httpx2

from services.auth.keys import new_secret
from tests.support.deadlines import stretched
from tests.support.forked_service import ForkedServiceProcess
from tests.support.mesh import LocalMesh
from tests.support.process import ServiceProcess


@dataclass
class FormOnPage:
    """A form, with what would be sent if nothing was filled in."""

    action: str
    fields: dict[str, list[str]] = field(default_factory=dict)
    method: str = "get"
    # Every field that can be filled in, also one that sends nothing as it is, such as a box that is not ticked.
    names: set[str] = field(default_factory=set)


class _Forms(HTMLParser):
    def __init__(self, path: str) -> None:
        super().__init__()
        self._path = path
        self._select = ""
        self.found: list[FormOnPage] = []
        self.links: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        attributes = {name: value or "" for name, value in attrs}
        if tag == "a" and attributes.get("href", "").startswith("/"):
            self.links.append(attributes["href"])
        elif tag in {"input", "select", "textarea"} and "name" in attributes and self.found:
            self.found[-1].names.add(attributes["name"])
        if tag == "form":
            self.found.append(
                FormOnPage(attributes.get("action", self._path), method=attributes.get("method", "get").lower())
            )
        elif tag == "select":
            self._select = attributes["name"]
        elif tag == "option" and "selected" in attributes:
            self.found[-1].fields[self._select] = [attributes["value"]]
        elif tag == "textarea":
            self.found[-1].fields.setdefault(attributes["name"], [""])
        elif tag == "input" and (attributes.get("type") != "checkbox" or "checked" in attributes):
            self.found[-1].fields.setdefault(attributes["name"], []).append(attributes.get("value", ""))


class PageShown:
    """A page as a person sees it."""

    def __init__(self, response: httpx2.Response) -> None:
        self.response = response
        self.status = response.status_code
        self.source = response.text
        parser = _Forms(response.url.path)
        parser.feed(self.source)
        self.forms = {form.action: form for form in parser.found}
        # Where it leads within the console.
        self.links = parser.links

    @property
    def location(self) -> str:
        """Where the answer leads."""
        return self.response.headers.get("location", "")

    def shows(self, text: str) -> bool:
        """Whether a text is on the page, escaped as text must be."""
        return (
            html.escape(text) in self.source
            or html.escape(text).replace("&quot;", "&#34;").replace("&#x27;", "&#39;") in self.source
        )


def shown_as_text(pages: Iterable[PageShown], name: str) -> int:
    """Returns how many pages show a name; fails if one takes anything in it for markup or for a template."""
    shown = 0
    for page in pages:
        assert "<script>" not in page.source
        assert "<img" not in page.source
        assert ">49<" not in page.source
        shown += page.shows(name)
    return shown


class Person:
    """One browser with its cookies. `with` closes it."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.http = httpx2.Client(base_url=url, timeout=stretched(10))

    def open(self, path: str, **options: Any) -> PageShown:
        """Opens a page, without following where it leads."""
        return PageShown(self.http.get(path, **options))

    def weight(self, page: PageShown) -> int:
        """Returns how many bytes a page has with all that it loads."""
        loaded = re.findall(r'="(/static/[^"]+)"', page.source)
        return len(page.response.content) + sum(len(self.http.get(each).content) for each in loaded)

    def send(self, path: str, fields: dict[str, Any], *, origin: str | None = "", **options: Any) -> PageShown:
        """Sends a form as it is; `origin` is another one, or None for none at all."""
        headers = {**options.pop("headers", {}), **({"Origin": origin or self.url} if origin is not None else {})}
        return PageShown(self.http.post(path, data=fields, headers=headers, **options))

    def fill_in(self, page: str, action: str, **fields: Any) -> PageShown:
        """Opens a page and sends the form with this action, with these fields filled in."""
        form = self.open(page).forms[action]
        return self.send(action, {**form.fields, **fields})

    def sign_in(self, key: str) -> PageShown:
        """Signs in and returns the answer."""
        return self.fill_in("/sign-in", "/sign-in", key=key)

    def token(self, page: str = "/") -> str:
        """Returns the form token of this browser."""
        forms = self.open(page).forms.values()
        return next(form.fields["form_token"][0] for form in forms)

    @property
    def cookies(self) -> dict[str, str]:
        """What the browser would send."""
        return dict(self.http.cookies)

    @property
    def session_cookie(self) -> tuple[str, str]:
        """The cookie that signs in."""
        return next((name, value) for name, value in self.cookies.items() if "session" in name)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.http.close()


class Owner:
    """An account of its own with a key that signs in, and credits."""

    def __init__(self, mesh: LocalMesh, name: str = "customer", amount: int = 1000) -> None:
        self.mesh = mesh
        self.account: str = mesh.command_now("account", "create", name)["id"]
        if amount:
            mesh.command_now("credits", "grant", self.account, str(amount))
        made = mesh.command_now("key", "create", self.account, "--all-endpoints", "--rpm", "0", "--name", name)
        self.key: str = made["api_key"]
        self.key_id: str = made["id"]

    def at_a_browser(self, url: str = "") -> Person:
        """Returns a browser that is signed in, at the console of the mesh or at another one."""
        person = Person(url or self.mesh.console_url)
        answer = person.sign_in(self.key)
        assert (answer.status, answer.location) == (303, "/"), answer.source
        return person


def session_key(mesh: LocalMesh, token: str) -> str:
    """Returns the key of a session as the database and the session's cookie make it; empty if there is none yet."""
    with closing(sqlite3.connect(f"file:{mesh.state_dir / 'auth.db'}?mode=ro", uri=True)) as database:
        digest = hashlib.sha256(token.encode()).digest()
        row = database.execute("SELECT key_salt FROM sessions WHERE digest = ?", (digest,)).fetchone()
    assert row is not None, "there is no such session"
    return new_secret("tiermesh", lambda _: hmac.digest(token.encode(), row[0], hashlib.sha256)) if row[0] else ""


def beside(mesh: LocalMesh, part: str = "console") -> dict[str, str]:
    """Returns the settings with which a further console joins a mesh."""
    services = ("auth", "billing", "router")
    addresses = {f"{name}_addresses": mesh.addresses[name] for name in services}
    edge = {"edge_url": mesh.base_url} if part == "console" else {}
    return addresses | edge | mesh.tls_settings(part)


def operators_beside(mesh: LocalMesh, directory: Path, **settings: str) -> ServiceProcess:
    """Returns a further operators' console that is ready to start."""
    joined = beside(mesh, "operator-console") | settings
    return ForkedServiceProcess("operator_console", directory, joined, module="services.console.operators")


class Operator:
    """An operator with a key of its own."""

    def __init__(self, mesh: LocalMesh, name: str = "") -> None:
        self.mesh = mesh
        self.name = name or f"operator {secrets.token_hex(4)}"
        made = mesh.command_now("operator", "create", self.name)
        self.id: str = made["id"]
        self.key: str = made["operator_key"]

    def at_a_browser(self) -> Person:
        """Returns a browser at which the operator is signed in."""
        person = Person(self.mesh.operator_console_url)
        answer = person.sign_in(self.key)
        assert (answer.status, answer.location) == (303, "/"), answer.source
        return person
