"""`python -m tests.integration.console.screenshots FOLDER` takes the pictures of docs/console.md.

It starts a mesh of its own, with an account whose names and figures look like those of a customer.
"""

from __future__ import annotations

import asyncio
import io
import json
import sys
import tempfile
from pathlib import Path

from openai import OpenAI
from PIL import Image
from playwright.sync_api import Page, expect, sync_playwright

from tests.integration.console.desk import TOOLS, Desk, launch, press
from tests.integration.console.person import Owner
from tests.support.mesh import LocalMesh

# So few colours are enough for pages, and make a third of the file.
_COLOURS = 64
_DESKTOP = {"width": 1100, "height": 700}
_PHONE = {"width": 390, "height": 700}
_QUESTION = "What is the weather in Paris?"
_SCRIPT = {
    "rules": [
        {
            "when": {"role": "user", "contains": "weather"},
            "thought": "I do not know the weather, but there is a function.",
            "content": "I will look it up.",
            "calls": [{"name": "get_weather", "arguments": {"city": "Paris"}}],
        },
        {
            "when": {"role": "tool"},
            "thought": "The function has answered.",
            "content": "It is 18 °C in Paris, with a light wind from the west. Take a jacket for the evening.",
        },
        {"content": "Blue is a colour, and so are green and orange."},
    ]
}


def main(folder: Path) -> None:
    """Writes the pictures into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as directory:
        script = Path(directory, "script.json")
        script.write_text(json.dumps(_SCRIPT))
        options = ("--console-port", "0", "--script", str(script))
        # The pictures are taken at once, and show when keys were last used.
        environ = {"TIERMESH_AUTH_LAST_USED_SECONDS": "0.05"}
        mesh = LocalMesh(Path(directory), *options, tiers=("pro", "max"), environ=environ)
        asyncio.run(mesh.start())
        try:
            _take_all(mesh, folder)
        finally:
            asyncio.run(mesh.stop())


def _take_all(mesh: LocalMesh, folder: Path) -> None:
    owner = Owner(mesh, "Example Ltd", amount=2500)
    chatbot = mesh.command_now("key", "create", owner.account, "--name", "chatbot")["api_key"]
    for key, model, count in (
        (owner.key, "tiermesh-pro", 3),
        (chatbot, "tiermesh-max", 5),
        (chatbot, "tiermesh-lite", 9),
    ):
        client = OpenAI(base_url=mesh.base_url, api_key=key, max_retries=0)
        for _ in range(count):
            client.chat.completions.create(model=model, messages=[{"role": "user", "content": "Name a colour."}])
    with sync_playwright() as playwright:
        browser = launch(playwright)
        desk = Desk(browser.new_context(viewport=_DESKTOP), mesh.console_url)  # type: ignore[arg-type] # a literal
        desk.sign_in(owner.key)
        for name, path in {"overview": "/", "keys": "/keys", "usage": "/usage?group_by=model"}.items():
            desk.page.goto(desk.url + path)
            _take(desk.page, folder / f"{name}.png")
        _converse(desk.page, desk.url)
        _take(desk.page, folder / "playground.png")
        desk.page.goto(f"{desk.url}/receipts")
        _take(desk.page, folder / "receipts.png")
        desk.page.goto(f"{desk.url}/keys/new")
        desk.page.get_by_label("Name").fill("my laptop")
        press(desk.page, "button", "Create the key")
        _take(desk.page, folder / "made-key.png")
        phone = Desk(
            browser.new_context(viewport=_PHONE, color_scheme="dark", device_scale_factor=1),  # type: ignore[arg-type] # a literal
            mesh.console_url,
        )
        phone.sign_in(owner.key)
        _take(phone.page, folder / "overview-phone.png")
        _converse(phone.page, phone.url)
        _take(phone.page, folder / "playground-phone.png")
        browser.close()


def _converse(page: Page, url: str) -> None:
    """Asks something that a function is called for, and sends its result."""
    page.goto(f"{url}/playground?model=tiermesh-max-think")
    page.get_by_text("Options").click()
    page.get_by_label("Tools").fill(TOOLS)
    page.get_by_text("Options").click()
    page.get_by_label("Message").fill(_QUESTION)
    page.get_by_role("button", name="Send for").click()
    page.get_by_label("Result of get_weather").fill('{"celsius": 18, "wind": "west"}')
    page.get_by_role("button", name="Send the results").click()
    expect(page.locator(".cost").nth(1)).to_contain_text("charged")


def _take(page: Page, path: Path) -> None:
    picture = Image.open(io.BytesIO(page.screenshot(full_page=True)))
    picture.convert("RGB").quantize(_COLOURS, dither=Image.Dither.NONE).save(path, optimize=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
