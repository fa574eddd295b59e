"""The documentation lists each bench by a command that exists."""

from __future__ import annotations

import importlib.util
import re
import shlex

import pytest

from bench.every import EVERY
from bench.mesh import HERE


def test_the_documentation_lists_every_bench() -> None:
    pages = (HERE / "docs" / "performance.md").read_text()
    (table,) = re.findall(r"\| command \| .*?\n((?:\|.*\n)+)", pages)
    listed = re.findall(r"^\| `(python -m bench[^`]*)`", table, re.MULTILINE)
    assert listed == list(EVERY)


@pytest.mark.parametrize("command", EVERY)
def test_a_listed_bench_exists_with_its_options(command: str) -> None:
    _, _, module, *options = shlex.split(command)
    spec = importlib.util.find_spec(module)
    assert spec is not None
    assert spec.origin is not None
    source = (HERE / spec.origin).read_text() if spec.submodule_search_locations is None else ""
    for folder in spec.submodule_search_locations or ():
        source = (HERE / folder / "__main__.py").read_text()
    for option in options[::2]:
        assert f'"{option}"' in source
