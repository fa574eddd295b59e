"""Files that share something are run by one process, and so are the tests of any file."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.support.scheduling import SHARED, TOGETHER, ByFileOrFolder, is_long

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(
    ("nodeid", "scope"),
    [
        ("tests/integration/console/test_pages.py::test_x[a::b]", "tests/integration/console/"),
        ("tests/integration/console/browser/test_console.py::test_x", "tests/integration/console/browser/"),
        ("tests/integration/consoles.py::test_x", "tests/integration/consoles.py"),
        ("tests/unit/test_scheduling.py::TestX::test_x", "tests/unit/test_scheduling.py"),
        ("tests/e2e/test_vision.py::test_x", "sample_mesh"),
        ("tests/e2e/test_chat.py::test_x", "real_mesh"),
    ],
)
def test_the_innermost_folder_counts(nodeid: str, scope: str) -> None:
    # It looks at nothing but the name.
    assert ByFileOrFolder._split_scope(object.__new__(ByFileOrFolder), nodeid) == scope


def test_what_one_process_runs_for_minutes_comes_first(request: pytest.FixtureRequest) -> None:
    assert is_long("tests/integration/x402/test_kills.py::test_x")
    assert is_long("tests/e2e/test_chat.py::test_x")
    assert not is_long("tests/unit/test_scheduling.py::test_x")
    order = [is_long(item.nodeid) for item in request.session.items]
    assert order == sorted(order, reverse=True)


def test_the_folders_are_there() -> None:
    assert all((ROOT / folder).is_dir() for folder in TOGETHER)


def test_every_file_that_uses_a_mesh_with_real_models_is_with_the_others() -> None:
    found: dict[str, list[str]] = {fixture: [] for fixture in SHARED}
    for path in sorted((ROOT / "tests" / "e2e").glob("test_*.py")):
        source = path.read_text(encoding="utf-8").replace("image_mesh", "sample_mesh")
        # The fixture `client` that all files share is a client of the real mesh.
        its_client = re.search(r"\bclient: openai", source) and not re.search(r"def client\(", source)
        used = [fixture for fixture in SHARED if fixture in source]
        if fixture := next(iter(used), "real_mesh" if its_client else ""):
            found[fixture].append(f"tests/e2e/{path.name}")
    assert {fixture: tuple(files) for fixture, files in found.items()} == SHARED
