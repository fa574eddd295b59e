"""A comparison says which of two checkouts or interpreters costs less, however noisy the machine is."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console
from rich.table import Table

from bench.comparison.checkout import NoRevisionError, checkout_of
from bench.comparison.report import comparison_table, memory_comparison
from bench.comparison.rounds import Memory, Round, run_rounds


class Recorder:
    """Notes what is measured; each measurement is one more than the one before."""

    def __init__(self) -> None:
        self.order: list[str] = []

    def measurement(self, name: str) -> Callable[[], float]:
        def measure() -> float:
            self.order.append(name)
            return len(self.order)

        return measure


def test_the_checkout_that_comes_first_changes_and_the_relay_lies_between() -> None:
    recorder = Recorder()
    measurements = {name: recorder.measurement(name) for name in ("relay", "other", "here")}
    rounds = list(run_rounds(2, **measurements))
    assert recorder.order == ["other", "relay", "here", "here", "relay", "other"]
    assert [(each.other, each.relay, each.here) for each in rounds] == [(1, 2, 3), (6, 5, 4)]
    assert [each.other_first for each in rounds] == [True, False]


def test_the_ratio_is_the_median_of_the_rounds_and_not_of_the_seconds() -> None:
    # The ratio of the medians is 0.857.
    rounds = [
        Round(0.5, 1.0, 1.2, other_first=True),
        Round(0.4, 2.0, 1.6, other_first=False),
        Round(0.7, 1.4, 1.12, other_first=True),
    ]
    cells = cells_by_row(comparison_table(rounds, "v1", "CPU-ms"))
    assert cells["median"] == ["0.500", "1.400", "1.200", "0.800"]
    assert cells["median ÷ relay"] == ["1.000", "2.000", "2.400", ""]
    assert cells["2, here first"] == ["0.400", "2.000", "1.600", "0.800"]


def test_with_two_interpreters_each_relay_is_measured_beside_its_mesh() -> None:
    recorder = Recorder()
    measurements = {name: recorder.measurement(name) for name in ("relay", "other", "here", "other_relay")}
    rounds = list(run_rounds(2, **measurements))
    assert recorder.order == ["other", "relay", "other_relay", "here", "here", "other_relay", "relay", "other"]
    assert [(each.other, each.relay, each.other_relay, each.here) for each in rounds] == [(1, 2, 3, 4), (8, 7, 6, 5)]


def test_each_mesh_is_told_beside_either_relay() -> None:
    rounds = [
        Round(1.0, 4.0, 3.0, other_first=True, other_relay=2.0),
        Round(2.0, 8.0, 6.0, other_first=False, other_relay=2.0),
        Round(2.0, 4.0, 2.0, other_first=True, other_relay=4.0),
    ]
    cells = cells_by_row(comparison_table(rounds, "old", "CPU-ms"))
    assert cells["2, here first"] == ["2.000", "2.000", "8.000", "6.000", "0.750"]
    assert cells["median"] == ["2.000", "2.000", "4.000", "3.000", "0.750"]
    assert cells["median ÷ relay"] == ["1.000", "", "4.000", "3.000", ""]
    assert cells["median ÷ relay, old"] == ["", "1.000", "2.000", "1.500", ""]


def test_memory_is_told_by_process_whatever_a_revision_lacks() -> None:
    cells = cells_by_row(memory_comparison(Memory({"edge": 70.4}, {"edge": 80.6, "console": 60.0}), "v1"))
    assert cells == {"console": ["", "60"], "edge": ["70", "81"]}


def cells_by_row(table: Table) -> dict[str, list[str]]:
    written = StringIO()
    Console(width=200, file=written).print(table)
    lines = [line.split("│") for line in written.getvalue().splitlines() if line.startswith("│")]
    return {first.strip(): [cell.strip() for cell in cells] for _, first, *cells, _ in lines}


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    def git(*arguments: str) -> None:
        who = ["-c", "user.name=A", "-c", "user.email=a@example.com", "-c", "commit.gpgsign=false"]
        subprocess.run(["git", *who, *arguments], cwd=tmp_path, check=True, capture_output=True)

    git("init", "--quiet")
    for text in ("first", "second"):
        (tmp_path / "file").write_text(text)
        git("add", "file")
        git("commit", "--quiet", "-m", text)
    return tmp_path


def test_a_revision_is_there_as_it_was_and_gone_afterwards(repository: Path) -> None:
    (repository / "file").write_text("not committed")
    with checkout_of("HEAD~1", repository) as checkout:
        assert (checkout / "file").read_text() == "first"
    assert not checkout.exists()
    assert (repository / "file").read_text() == "not committed"


def test_a_revision_that_is_not_there_is_named(repository: Path) -> None:
    with pytest.raises(NoRevisionError, match="no revision 'v99'"), checkout_of("v99", repository):
        pass
