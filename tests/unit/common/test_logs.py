from __future__ import annotations

import json
import logging
from collections.abc import Iterator

import pytest
import structlog

from services.common.logs import configure_logs, get_logger
from services.common.settings import SettingsError


@pytest.fixture(autouse=True)
def restored_logging() -> Iterator[None]:
    """Leaves logging as it was: the configuration belongs to the whole process."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    structlog.contextvars.clear_contextvars()
    structlog.reset_defaults()


def test_machines_get_one_json_object_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logs("router", format="json", level="info")
    get_logger().info("listening", address="127.0.0.1:1")
    output = capsys.readouterr()
    record = json.loads(output.err)
    assert record.pop("timestamp").endswith("Z")
    assert record == {"event": "listening", "address": "127.0.0.1:1", "service": "router", "level": "info"}
    assert output.out == ""


def test_people_get_plain_lines_without_colours_in_a_file(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logs("router", format="console", level="info")
    get_logger().info("listening", address="127.0.0.1:1")
    line = capsys.readouterr().err
    assert "listening" in line
    assert "address=127.0.0.1:1" in line
    assert "\x1b" not in line


def test_records_below_the_level_are_dropped(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logs("router", format="json", level="WARNING")
    get_logger().info("quiet")
    get_logger().warning("loud")
    assert json.loads(capsys.readouterr().err)["event"] == "loud"


def fail(prompt: str) -> None:
    raise RuntimeError(f"a prompt of {len(prompt)} characters is a mistake")


@pytest.mark.parametrize("format", ["json", "console"])
def test_a_traceback_does_not_show_the_values_of_variables(capsys: pytest.CaptureFixture[str], format: str) -> None:  # noqa: A002 - the setting has this name
    configure_logs("router", format=format, level="info")
    prompt = "top secret".replace(" ", "-")
    try:
        fail(prompt)
    except RuntimeError:
        get_logger().exception("failed")
    output = capsys.readouterr().err
    assert "RuntimeError: a prompt of 10 characters is a mistake" in output
    assert prompt not in output


def test_an_exception_is_one_record_for_machines(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logs("router", format="json", level="info")
    try:
        fail("")
    except RuntimeError:
        get_logger().exception("failed")
    assert json.loads(capsys.readouterr().err)["event"] == "failed"


def test_libraries_are_heard_from_warning_on(capsys: pytest.CaptureFixture[str]) -> None:
    # The test runner has handlers of its own there, which a service has not.
    logging.getLogger().handlers.clear()
    configure_logs("router", format="json", level="debug")
    logging.getLogger("some.library").info("chatter")
    logging.getLogger("some.library").warning("trouble")
    assert capsys.readouterr().err == "some.library: trouble\n"


@pytest.mark.parametrize(
    ("format", "level", "complaint"), [("xml", "info", "LOG_FORMAT"), ("json", "loud", "LOG_LEVEL")]
)
def test_unknown_formats_and_levels_are_refused(format: str, level: str, complaint: str) -> None:  # noqa: A002 - the setting has this name
    with pytest.raises(SettingsError, match=complaint):
        configure_logs("router", format=format, level=level)
