"""Generates the pages of this folder from the code; with --check it only reports pages that are out of date."""

from __future__ import annotations

import sys
import tomllib
from pathlib import Path

# Python looks for modules beside this script; the routes of the edge are made by the support of its tests.
sys.path.append(str(Path(__file__).parents[2]))

import mdformat
from api_page import api_page
from protos_page import protos_page
from settings_page import settings_page

_HERE = Path(__file__).parent
_NOTE = "<!-- This page is generated: run `make reference` after a change of its source. -->\n\n"


def main() -> None:
    """Writes the pages, or with --check names those that differ from their sources."""
    pages = {"settings.md": settings_page(), "api.md": api_page(), "protos.md": protos_page()}
    made = {_HERE / name: _formatted(_NOTE + text) for name, text in pages.items()}
    stale = [path for path, text in made.items() if not path.exists() or path.read_text(encoding="utf-8") != text]
    if "--check" in sys.argv and stale:
        sys.exit(f"out of date: {', '.join(path.name for path in stale)}; run `make reference`")
    for path in stale:
        path.write_text(made[path], encoding="utf-8")


def _formatted(text: str) -> str:
    """Formats a page as `make format` formats the pages that people write."""
    options = {**tomllib.loads((_HERE.parents[1] / ".mdformat.toml").read_text(encoding="utf-8"))}
    return mdformat.text(text, options=options, extensions=("gfm", "tables"))


if __name__ == "__main__":
    main()
