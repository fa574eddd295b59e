"""The files of a folder that share something are run by one process, and so are the tests of any file."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.scheduling import TOGETHER, ByFileOrFolder

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(
    ("nodeid", "scope"),
    [
        ("tests/integration/console/test_pages.py::test_x[a::b]", "tests/integration/console/"),
        ("tests/integration/console/browser/test_console.py::test_x", "tests/integration/console/browser/"),
        ("tests/integration/consoles.py::test_x", "tests/integration/consoles.py"),
        ("tests/unit/test_scheduling.py::TestX::test_x", "tests/unit/test_scheduling.py"),
    ],
)
def test_the_innermost_folder_counts(nodeid: str, scope: str) -> None:
    # It looks at nothing but the name.
    assert ByFileOrFolder._split_scope(object.__new__(ByFileOrFolder), nodeid) == scope


def test_the_folders_are_there() -> None:
    assert all((ROOT / folder).is_dir() for folder in TOGETHER)
