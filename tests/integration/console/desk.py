"""A person at a real browser, and what is looked at on every page."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Literal, NamedTuple

from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Page, Playwright, Request, ViewportSize, expect

from tests.support import programs
from tests.support.deadlines import stretched

Scheme = Literal["light", "dark"]
SCHEMES: tuple[Scheme, ...] = ("light", "dark")
# What a model may call in the playground, as people enter it.
TOOLS = '[{"type": "function", "function": {"name": "get_weather", "parameters": {"type": "object"}}}]'
# Set, it names a folder in which every page is kept as a picture.
PICTURES_VARIABLE = "TIERMESH_TEST_SCREENSHOTS"


class Screen(NamedTuple):
    """What a person looks at: its width in pixels, and the colours that are asked for."""

    width: int
    scheme: Scheme

    def open(self, browser: Browser, url: str) -> Desk:
        """Returns a person who looks at it."""
        # What moves has other colours for a moment.
        viewport = ViewportSize(width=self.width, height=900)
        context = browser.new_context(viewport=viewport, color_scheme=self.scheme, reduced_motion="reduce")
        return Desk(context, url)


# Everything is done on each of them. Every page is looked at in both schemes on each, once it is there.
SCREENS = (Screen(360, "light"), Screen(1600, "dark"))


def launch(playwright: Playwright) -> Browser:
    """Starts the browser."""
    chromium = programs.chromium()
    return playwright.chromium.launch(
        executable_path=chromium.path,
        env={**os.environ, **chromium.environment},
        # Containers forbid what its sandbox needs, and there is nothing here but pages of ours.
        args=["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"],
    )


class Desk:
    """A person at a browser that notes what it does not like: errors, refused content, foreign requests."""

    def __init__(self, context: BrowserContext, url: str) -> None:
        self.url = url
        self.context = context
        self.requests: list[str] = []
        self.complaints: list[str] = []
        context.set_default_timeout(1000 * stretched(10))
        expect.set_options(timeout=1000 * stretched(5))
        self.page = context.new_page()
        self.page.on("request", self._note_request)
        self.page.on("console", self._note_message)
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))

    def _note_request(self, request: Request) -> None:
        self.requests.append(request.url)

    def _note_message(self, message: ConsoleMessage) -> None:
        if message.type in {"error", "warning"}:
            self.complaints.append(message.text)

    def sign_in(self, key: str) -> None:
        self.page.goto(self.url)
        self.page.get_by_label("API key").fill(key)
        self.page.get_by_role("button", name="Sign in").click()
        expect(self.page.get_by_role("heading", name="Overview")).to_be_visible()

    def foreign(self) -> list[str]:
        """Returns the requests that left the console."""
        return [url for url in self.requests if not url.startswith(self.url + "/")]


def press(page: Page, role: Literal["button", "link"], name: str) -> None:
    """Presses what leads to another page, and waits for that."""
    with page.expect_navigation():
        page.get_by_role(role, name=name).click()


def check_page(page: Page, name: str, screen: Screen) -> None:
    """Fails if in one of the schemes something is cut off, too small to touch, hard to read or without a name."""
    # That of the screen comes last, and stays.
    for scheme in sorted(SCHEMES, key=lambda each: each == screen.scheme):
        page.emulate_media(color_scheme=scheme)
        if folder := os.environ.get(PICTURES_VARIABLE):
            picture = Path(folder, f"{name}-{screen.width}-{scheme}.png")
            page.screenshot(path=picture, full_page=True, timeout=1000 * stretched(30))
        found = page.evaluate(CHECKS)
        assert found == [], f"{name} at {screen.width} in {scheme}: {found}"
    # It takes long, so that it is asked once for each screen.
    page.evaluate(AXE)
    violations = page.evaluate(
        "axe.run().then(({ violations }) => violations.map(({ id, nodes }) => [id, nodes[0].html]))"
    )
    assert violations == [], f"{name} at {screen.width} in {screen.scheme}: {violations}"


AXE = programs.axe()


# Returns what is wrong with the page that is shown.
CHECKS = """() => {
  const wrong = [];
  const wide = document.documentElement.scrollWidth - innerWidth;
  if (wide > 0) wrong.push(`the page is ${wide} px too wide`);
  const luminance = (color) => {
    const [r, g, b] = color.match(/[\\d.]+/g).map(Number).map((each) => {
      const part = each / 255;
      return part <= 0.03928 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4;
    });
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const ground = (element) => {
    for (let each = element; each; each = each.parentElement) {
      const color = getComputedStyle(each).backgroundColor;
      if (!color.endsWith(', 0)')) return color;
    }
    return 'rgb(255, 255, 255)';
  };
  for (const element of document.querySelectorAll('body *')) {
    const text = [...element.childNodes].some((node) => node.nodeType === 3 && node.textContent.trim());
    const style = getComputedStyle(element);
    if (!text || !element.getClientRects().length || element.closest('.hidden, .skip')) continue;
    const [one, other] = [luminance(style.color), luminance(ground(element))].sort((a, b) => b - a);
    const contrast = (one + 0.05) / (other + 0.05);
    if (contrast < 4.5) wrong.push(`contrast ${contrast.toFixed(1)}: ${element.textContent.trim().slice(0, 40)}`);
  }
  const controls = 'button, .button, input:not([type=hidden]), select, textarea, summary, nav a';
  for (const element of document.querySelectorAll(controls)) {
    if (!element.getClientRects().length) continue;
    const { width, height } = element.getBoundingClientRect();
    const label = element.type === 'checkbox' ? element.labels[0] : element;
    if (Math.min(label.getBoundingClientRect().height, label.getBoundingClientRect().width) < 24)
      wrong.push(`too small to touch (${width} by ${height}): ${element.outerHTML.slice(0, 60)}`);
    const named = element.textContent.trim() || element.labels?.length || element.getAttribute('aria-label');
    if (!named) wrong.push(`without a name: ${element.outerHTML.slice(0, 60)}`);
  }
  const ids = [...document.querySelectorAll('[id]')].map((element) => element.id);
  if (new Set(ids).size !== ids.length) wrong.push('an id is there twice');
  if (document.querySelectorAll('h1').length !== 1) wrong.push('there is not one heading of the page');
  if (document.querySelectorAll('main').length !== 1 || !document.documentElement.lang) wrong.push('landmarks');
  return wrong;
}"""
