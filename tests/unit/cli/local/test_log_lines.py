from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from services.cli.local.log_output import LogLine, LogOutput, parse_log_line


def test_a_line_of_a_service_is_readable() -> None:
    line = parse_log_line(
        '{"address": "a b", "tries": 3, "event": "peer_lost", "service": "edge", "level": "warning", "timestamp": "t"}'
    )
    assert str(line) == "warning: peer_lost address='a b' tries=3"
    assert line.important
    assert line.warning


def test_a_line_of_etcd_is_readable() -> None:
    line = parse_log_line('{"level":"fatal","ts":"t","caller":"x.go:1","msg":"no space","error":"disk"}')
    assert str(line) == "fatal: no space error=disk"
    assert not line.warning


def test_the_error_is_named_by_the_last_line_of_the_traceback() -> None:
    line = parse_log_line('{"event": "rpc_failed", "level": "error", "exception": "Traceback\\n  here\\nKeyError: 1"}')
    assert str(line) == "error: rpc_failed (KeyError: 1)"


@pytest.mark.parametrize("text", ["Traceback (most recent call last):", "12", '{"a": 1}', "{broken"])
def test_anything_else_is_shown_as_it_is(text: str) -> None:
    line = parse_log_line(text)
    assert str(line) == text
    assert line.important


@pytest.mark.parametrize("level", ["info", "debug"])
def test_routine_stays_in_the_file(level: str) -> None:
    assert not parse_log_line(f'{{"event": "listening", "level": "{level}"}}').important


class Shown:
    def __init__(self, path: Path) -> None:
        self.lines: list[LogLine] = []
        self.output = LogOutput("auth", path, lambda _service, line: self.lines.append(line))

    async def follow(self, *chunks: bytes, shown: bool = True) -> None:
        stream = asyncio.StreamReader()
        for chunk in chunks:
            stream.feed_data(chunk)
        stream.feed_eof()
        await self.output.follow(stream, shown=shown)
        self.output.close()


async def test_everything_goes_to_the_file_and_what_matters_to_the_terminal(tmp_path: Path) -> None:
    shown = Shown(tmp_path / "auth.log")
    await shown.follow(b'{"event": "a", "level": "info"}\n{"event": "b", "level', b'": "error"}\n\nlast words')
    assert [line.text for line in shown.lines] == ["b", "last words"]
    assert len(shown.output.path.read_text().splitlines()) == 3
    assert [line.text for line in shown.output.recent] == ["a", "b", "last words"]


async def test_warnings_stay_in_the_file_while_everything_starts(tmp_path: Path) -> None:
    shown = Shown(tmp_path / "auth.log")
    await shown.follow(b'{"event": "a", "level": "warning"}\n{"event": "b", "level": "error"}\n')
    assert [line.text for line in shown.lines] == ["b"]


async def test_warnings_are_shown_where_they_are_unexpected(tmp_path: Path) -> None:
    shown = Shown(tmp_path / "auth.log")
    shown.output.show_warnings = True
    await shown.follow(b'{"event": "a", "level": "warning"}\n')
    assert [line.text for line in shown.lines] == ["a"]


async def test_a_migration_talks_only_to_the_file(tmp_path: Path) -> None:
    shown = Shown(tmp_path / "auth.log")
    await shown.follow(b"schema 0001\n", shown=False)
    assert shown.lines == []
    assert shown.output.path.read_text() == "schema 0001\n"


async def test_a_line_without_end_does_not_fill_the_memory(tmp_path: Path) -> None:
    shown = Shown(tmp_path / "auth.log")
    await shown.follow(*[b"x" * 60_000] * 10, b"\nend\n")
    assert shown.lines[-1].text == "end"
    assert all(len(line.text) < 200_000 for line in shown.lines)
