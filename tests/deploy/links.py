"""The links of a page of Markdown that lead to files."""

from __future__ import annotations

import re
from pathlib import Path


def dead_links(page: Path) -> list[str]:
    """Returns the relative links of a page that lead nowhere; anchors within a file are not looked at."""
    links = re.findall(r"\]\(([^)#:]+)(?:#[\w-]+)?\)", page.read_text())
    return [link for link in links if not (page.parent / link).exists()]
