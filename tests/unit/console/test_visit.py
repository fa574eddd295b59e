from __future__ import annotations

import pytest

from services.console.http.browser_sessions import browser_name
from services.console.visit import own_path


@pytest.mark.parametrize("path", ["/", "/keys", "/keys/new", "/keys/key_0a"])
def test_paths_of_ours_are_kept(path: str) -> None:
    assert own_path(path) == path


@pytest.mark.parametrize(
    "text",
    [
        "",
        "//evil.example",
        "/\\evil.example",
        "/\tevil",
        "https://evil.example",
        "javascript:alert(1)",
        "/keys?x=//evil",
        "/keys\r\nSet-Cookie: a=b",
        "/%2f/evil.example",
        "/" + "a" * 500,
        "keys",
    ],
)
def test_nothing_else_is_gone_on_to(text: str) -> None:
    assert own_path(text) == "/"


@pytest.mark.parametrize(
    ("user_agent", "name"),
    [
        ("Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0", "Firefox on Linux"),
        (
            "Mozilla/5.0 (Windows NT 10.0) AppleWebKit/537.36 (KHTML) Chrome/150.0 Safari/537.36 Edg/150.0",
            "Edge on Windows",
        ),
        ("Mozilla/5.0 (Macintosh; Intel Mac OS X 15_0) AppleWebKit/605 Version/18 Safari/605", "Safari on macOS"),
        ("Mozilla/5.0 (Linux; Android 16) AppleWebKit/537.36 Chrome/150.0 Mobile Safari/537.36", "Chrome on Android"),
        ("Chrome/1 <script>alert(1)</script>", "Chrome on an unknown system"),
        ("curl/8", "Another program"),
        ("", "Another program"),
    ],
)
def test_browsers_have_names_that_people_know(user_agent: str, name: str) -> None:
    assert browser_name(user_agent) == name
