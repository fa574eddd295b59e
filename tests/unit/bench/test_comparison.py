"""A comparison says which of two checkouts costs less, however noisy the machine is."""

from __future__ import annotations

import subprocess
from io import StringIO
from itertools import count
from pathlib import Path

import pytest
from rich.console import Console
from rich.table import Table

from bench.comparison.checkout import NoRevisionError, checkout_of
from bench.comparison.report import comparison_tables
from bench.comparison.rounds import Figures, Round, run_rounds


def test_the_checkout_that_comes_first_changes_and_the_relay_lies_between() -> None:
    order: list[str] = []
    clock = count(1)

    def measured(name: str) -> Figures:
        order.append(name)
        return Figures(next(clock), 1)

    rounds = list(
        run_rounds(2, relay=lambda: measured("relay"), other=lambda: measured("other"), here=lambda: measured("here"))
    )
    assert order == ["other", "relay", "here", "here", "relay", "other"]
    assert [(each.other.unary, each.relay.unary, each.here.unary) for each in rounds] == [(1, 2, 3), (6, 5, 4)]
    assert [each.other_first for each in rounds] == [True, False]


def test_the_ratio_is_the_median_of_the_rounds_and_not_of_the_minutes() -> None:
    # The ratio of the medians is 0.857 for unary requests.
    rounds = [
        Round(Figures(0.5, 1.0), Figures(1.0, 2.0), Figures(1.2, 1.8), other_first=True),
        Round(Figures(0.4, 3.0), Figures(2.0, 6.0), Figures(1.6, 5.4), other_first=False),
        Round(Figures(0.7, 0.5), Figures(1.4, 1.0), Figures(1.12, 1.0), other_first=True),
    ]
    unary, stream = (cells_by_row(table) for table in comparison_tables(rounds, "v1", 32))
    assert unary["median"] == ["0.500", "1.400", "1.200", "0.800"]
    assert unary["median ÷ relay"] == ["1.000", "2.000", "2.400", ""]
    assert stream["median"] == ["1.000", "2.000", "1.800", "0.900"]
    assert stream["median ÷ relay"] == ["1.000", "2.000", "1.800", ""]
    assert stream["2, here first"] == ["3.000", "6.000", "5.400", "0.900"]


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
