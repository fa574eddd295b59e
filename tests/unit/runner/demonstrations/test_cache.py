"""What is made at the first start is made once, and found complete or not at all."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from services.common.files.cache_directory import default_cache
from services.runner.demonstrations.cache import made_once


def make_folder(path: Path) -> None:
    path.mkdir()
    (path / "weights").write_text("all")


def test_a_folder_is_made_once(tmp_path: Path) -> None:
    cache = tmp_path / "new" / "cache"
    made = made_once(cache, "model", make_folder)
    assert (made, (made / "weights").read_text()) == (cache / "model", "all")
    (made / "weights").write_text("still there")
    assert (made_once(cache, "model", make_folder) / "weights").read_text() == "still there"
    assert [path.name for path in cache.iterdir()] == ["model"]


def test_what_a_killed_process_has_left_is_removed(tmp_path: Path) -> None:
    left = tmp_path / "model.unfinished"
    left.mkdir()
    (left / "half").touch()
    made = made_once(tmp_path, "model", make_folder)
    assert [path.name for path in made.iterdir()] == ["weights"]
    assert not left.exists()


def test_what_could_not_be_made_is_not_there(tmp_path: Path) -> None:
    def fail(path: Path) -> None:
        path.write_text("half")
        raise ValueError("the model is wrong")

    with pytest.raises(ValueError, match="the model is wrong"):
        made_once(tmp_path, "model", fail)
    assert not (tmp_path / "model").exists()
    assert made_once(tmp_path, "model", make_folder).is_dir()


def test_nobody_sees_it_before_it_is_complete(tmp_path: Path) -> None:
    begun, go_on = threading.Event(), threading.Event()
    makers = []

    def make_slowly(path: Path) -> None:
        makers.append(path)
        path.write_text("half")
        begun.set()
        assert go_on.wait(20)
        path.write_text("all")

    threads = [threading.Thread(target=made_once, args=(tmp_path, "model", make_slowly)) for _ in range(2)]
    for thread in threads:
        thread.start()
    assert begun.wait(20)
    assert not (tmp_path / "model").exists()
    go_on.set()
    for thread in threads:
        thread.join()
    assert ((tmp_path / "model").read_text(), len(makers)) == ("all", 1)


def test_a_cache_that_cannot_be_written_names_the_setting(tmp_path: Path) -> None:
    occupied = tmp_path / "file"
    occupied.touch()
    with pytest.raises(OSError, match="TIERMESH_RUNNER_CACHE_DIR"):
        made_once(occupied / "cache", "model", make_folder)


def test_the_default_cache_is_the_users(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert default_cache() == tmp_path / "tiermesh"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert default_cache() == tmp_path / ".cache" / "tiermesh"
