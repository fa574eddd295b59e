from __future__ import annotations

import asyncio
import io
import json
import logging
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog

from services.common.errors import Code, MeshError
from services.common.settings import SettingsError
from services.common.telemetry.logs import configure_logs, get_logger
from services.common.telemetry.tracebacks import describe

FULL = Path("/dev/full")


@pytest.fixture(autouse=True)
def restored_logging() -> Iterator[None]:
    """Leaves logging as it was: the configuration belongs to the whole process."""
    root = logging.getLogger()
    handlers, level, hook = root.handlers[:], root.level, sys.excepthook
    yield
    sys.excepthook = hook
    root.handlers[:] = handlers
    root.setLevel(level)
    structlog.contextvars.clear_contextvars()
    structlog.reset_defaults()


@pytest.mark.skipif(not FULL.exists(), reason="only Linux has a device that is always full")
@pytest.mark.parametrize("format", ["json", "console"])
def test_a_full_disk_breaks_nothing_but_the_log(format: str, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: A002 - the setting has this name
    # What cannot be flushed stays in the buffer, and closing it would try once more.
    stream = io.TextIOWrapper(io.FileIO(FULL, "w"), write_through=True)
    monkeypatch.setattr(sys, "stderr", stream)
    configure_logs("billing", format=format, level="info")
    with pytest.raises(OSError, match="No space"):
        stream.write("a line")
    get_logger().warning("database_failed", reason="full")
    get_logger().exception("commit_failed", exc_info=ValueError())


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


SECRET = "top-" + "secret"


def fail(prompt: str) -> None:
    try:
        os.environ[prompt]
    except KeyError as error:
        raise RuntimeError(f"{prompt} is a mistake") from error


@pytest.mark.parametrize("format", ["json", "console"])
def test_a_traceback_shows_where_but_not_what(capsys: pytest.CaptureFixture[str], format: str) -> None:  # noqa: A002 - the setting has this name
    configure_logs("router", format=format, level="info")
    try:
        fail(SECRET)
    except RuntimeError:
        get_logger().exception("failed")
    output = capsys.readouterr().err
    assert output.index("KeyError") < output.index("RuntimeError")
    assert "in fail" in output
    assert SECRET not in output


def test_libraries_do_not_show_it_either(capsys: pytest.CaptureFixture[str]) -> None:
    logging.getLogger().handlers.clear()
    configure_logs("router", format="json", level="info")
    try:
        fail(SECRET)
    except RuntimeError as error:
        context = {"message": f"Exception in callback work('{SECRET}')", "exception": error}
        asyncio.new_event_loop().call_exception_handler(context)
        logging.getLogger("aiohttp.server").exception("Error handling request from %s", "127.0.0.1")
    output = capsys.readouterr().err
    assert "asyncio: Exception in callback work" in output
    assert "aiohttp.server: Error handling request from 127.0.0.1\n" in output
    assert output.count("\nRuntimeError\n") == 2
    assert SECRET not in output


def test_a_crash_does_not_show_it_either(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logs("router", format="json", level="info")
    try:
        fail(SECRET)
    except RuntimeError as error:
        sys.excepthook(type(error), error, error.__traceback__)
    record = json.loads(capsys.readouterr().err)
    assert record["event"] == "crashed"
    assert "RuntimeError" in record["exception"]
    assert SECRET not in str(record)


@pytest.mark.parametrize(
    ("error", "kept"),
    [
        (MeshError(Code.UNAVAILABLE, "billing is away"), "UNAVAILABLE, billing is away"),
        (ConnectionRefusedError(111, "Connection refused"), "ConnectionRefusedError: Connection refused (errno 111)"),
        (OSError(SECRET), "OSError"),
        (ExceptionGroup("both", [ValueError(SECRET), KeyError(SECRET)]), "ExceptionGroup: ValueError; KeyError"),
    ],
)
def test_what_cannot_hold_a_secret_is_kept(error: Exception, kept: str) -> None:
    assert describe(error).endswith(kept)


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
