"""The links of a page of Markdown that lead to files."""

from __future__ import annotations

import re
from pathlib import Path


def dead_links(page: Path) -> list[str]:
    """Returns the relative links of a page that lead nowhere, and those to a heading that its page does not have."""
    dead = []
    for link, anchor in re.findall(r"\]\(([^)#:\s]*)(?:#([\w-]+))?\)", page.read_text()):
        target = page.parent / link if link else page
        if not target.exists() or (anchor and anchor not in _anchors(target)):
            dead.append(f"{link}#{anchor}" if anchor else link)
    return dead


def _anchors(page: Path) -> set[str]:
    """Returns the anchors of a page's headings, as hosting sites make them."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\s-]", "", heading.lower()).replace(" ", "-") for heading in headings}
