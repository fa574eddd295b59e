"""A comparison says which of several meshes costs less, however noisy the machine is."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from io import StringIO
from itertools import count
from pathlib import Path

import pytest
from rich.console import Console
from rich.table import Table

from bench.comparison.checkout import NoRevisionError, checkout_of, checkouts
from bench.comparison.report import cost_table
from bench.comparison.rounds import Round, Rounds, run_rounds
from bench.cost import Sample


def sample(cost: float) -> Sample:
    """Three quarters of the cost are the edge's; what is no part of the mesh is much more."""
    return Sample({"edge": cost * 3 / 4, "runners": cost / 4, "engine": 7.0, "second router": 9.0}, 1000.0, 4.0)


@pytest.mark.parametrize(
    ("names", "order"),
    [
        (["here"], "relay here, here relay"),
        (["here", "v1"], "v1 relay here, here relay v1"),
        (["one", "ten", "hundred"], "hundred relay ten one, one ten relay hundred"),
    ],
)
def test_the_order_is_reversed_from_round_to_round_and_the_relay_lies_between(names: list[str], order: str) -> None:
    measured: list[str] = []
    clock = count(1)

    def measure(name: str) -> Callable[[], Sample]:
        return lambda: measured.append(name) or sample(next(clock))  # type: ignore[func-returns-value]  # It is None.

    def relay() -> float:
        measured.append("relay")
        return next(clock)

    rounds = list(run_rounds(2, relay, {name: measure(name) for name in names}))
    each = len(names) + 1
    assert ", ".join(" ".join(measured[at : at + each]) for at in (0, each)) == order
    for number, found in enumerate(rounds):
        began = number * each + 1
        assert found.relay == began + measured[number * each :].index("relay")
        for name in names:
            assert found.samples[name].total() == began + measured[number * each :].index(name)


# The ratio of the medians is 0.857.
ROUNDS = [
    Round(0.5, {"v1": sample(1.0), "here": sample(1.2)}),
    Round(0.4, {"here": sample(1.6), "v1": sample(2.0)}),
    Round(0.7, {"v1": sample(1.4), "here": sample(1.12)}),
]


def test_the_ratio_is_the_median_of_the_rounds_and_not_of_the_seconds() -> None:
    cells = cells_by_row(cost_table(ROUNDS, ["here", "v1"], "CPU-ms", "v1"))
    assert cells["mesh"] == ["1.200", "1.400"]
    assert cells["mesh ÷ v1, in a round"] == ["0.800", "1.000"]
    assert cells["bare relay, same rounds"] == ["0.500", "0.500"]
    assert cells["mesh ÷ relay"] == ["2.400", "2.000"]
    assert cells["edge"] == ["0.900", "1.050"]
    assert cells["engine"] == ["7.000", "7.000"]
    assert "mesh ÷ v1, in a round" not in cells_by_row(cost_table(ROUNDS, ["here"], "CPU-ms"))


def test_a_comparison_may_leave_out_processes() -> None:
    without = frozenset({"edge"})
    halved = [
        each._replace(samples={**each.samples, "half": sample(each.samples["v1"].total() / 2)}) for each in ROUNDS
    ]
    assert Rounds(halved).ratio("half", "v1", without) == pytest.approx(0.5)
    assert ROUNDS[0].samples["v1"].total(without) == pytest.approx(0.25)


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


def test_without_a_revision_there_is_only_this_checkout() -> None:
    with checkouts(None) as folders:
        assert list(folders) == ["here"]
        assert (folders["here"] / "bench" / "comparison").is_dir()
