"""Finds every page that links lead to and every form on them, as somebody does who opens everything.

What is entered into the forms comes from here too, so that both consoles are tried with the same.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from urllib.parse import parse_qsl, urlsplit

from hypothesis import strategies as st

from tests.integration.console.person import FormOnPage, PageShown, Person

# What somebody types who wants to be taken for a part of the page, of a template or of a database's query.
MARKUP = "<script>alert(1)</script>\"'><img src=x onerror=alert(2)>{{7*7}}"
TEXT = st.one_of(
    st.text(max_size=40),
    st.text(st.characters(categories=["Cc", "Cf", "Nd", "Sm", "Zs"]), max_size=20),
    st.sampled_from([MARKUP, "-1", "0", "99999999999999999999", "1e3", "../../etc/passwd", "%00", "key_" + "0" * 24]),
)
BODIES = st.one_of(st.binary(max_size=200), st.just(b"form_token=" + b"&a=b" * 300), st.just(b"a=" + b"x" * 70_000))
_ID = re.compile(r"(?:[a-z]+_)?[0-9a-f]{24,}")


class Crawl:
    """Every form behind some pages, as a browser that is signed in is shown them.

    Of pages that differ by an ID alone one is opened, and so is of those that differ by what is searched for. `starts`
    are all opened, and before the others, so that they decide whose pages these are.
    """

    def __init__(self, person: Person, starts: Iterable[str]) -> None:
        self.person = person
        self.pages: dict[str, PageShown] = {}
        waiting = list(starts)
        seen = {_kind(path) for path in waiting}
        while waiting:
            path = waiting.pop(0)
            page = self.pages[path] = person.open(path)
            assert page.status < 500, path
            for link in page.links:
                if _kind(link) not in seen:
                    seen.add(_kind(link))
                    waiting.append(link)

    def filled_in(self, form: FormOnPage, data: st.DataObject) -> dict[str, str]:
        """Returns something for some of the fields of a form."""
        names = st.lists(st.sampled_from(sorted(form.names)), max_size=4)
        return {name: data.draw(TEXT) for name in data.draw(names) if name != "form_token"}

    @property
    def forms(self) -> dict[str, FormOnPage]:
        """Every form, by its action; of a page that was opened first if several have it."""
        found: dict[str, FormOnPage] = {}
        for page in self.pages.values():
            for action, form in page.forms.items():
                found.setdefault(action, form)
        return found

    def send_body(self, form: FormOnPage, body: bytes) -> int:
        """Sends anything in place of a form, and returns the status."""
        headers = {"Content-Type": "application/x-www-form-urlencoded", "Origin": self.person.url}
        return self.person.http.post(form.action, content=body, headers=headers).status_code

    def send(self, form: FormOnPage, entered: dict[str, str]) -> PageShown:
        """Sends a form with some of its fields filled in otherwise."""
        fields = {**form.fields, **entered}
        if form.method == "post":
            return self.person.send(form.action, fields)
        return PageShown(self.person.http.get(form.action, params=fields))


def check_answer(page: PageShown) -> None:
    """Fails if a page is a defect, or takes what was entered for a part of itself."""
    assert page.status < 500, page.source
    for raw in ("<script>", "<img", "onerror=alert(2)>", "&gt;49"):
        assert raw not in page.source, raw


def _kind(url: str) -> str:
    parts = urlsplit(url)
    names = sorted(name for name, _ in parse_qsl(parts.query, keep_blank_values=True))
    return f"{_ID.sub('*', parts.path)}?{'&'.join(names)}"
