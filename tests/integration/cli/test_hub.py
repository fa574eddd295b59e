"""Models of Hugging Face, by its own library from a server on loopback that speaks its protocol."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from services.cli.errors import CliError
from services.cli.models.hub import Hub
from services.cli.models.hub_model import parse_hub_model
from tests.support.hub_server import HubServer, digest

MEMORY = 64 << 30
MIB = 1 << 20
# The library keeps what has come in pieces of 10 MiB.
LARGE = os.urandom(MIB) * 15
SMALL = b"GGUF" * 100
FILES = {
    "owner/one": {"one-Q4_K_M.gguf": SMALL, "mmproj-F16.gguf": b"p", "one.imatrix.gguf": b"i", "README.md": b"Hello."},
    "owner/several": {"a-Q4_K_M.gguf": b"4", "a-Q8_0.gguf": b"8", "sub/a-Q4_0.gguf": b"0"},
    "owner/parts": {"a-Q8_0-00001-of-00002.gguf": b"1", "a-Q8_0-00002-of-00002.gguf": b"2"},
    "owner/none": {"model.safetensors": b"weights"},
    "owner/large": {"large.gguf": LARGE},
}


@pytest.fixture
def server() -> Iterator[HubServer]:
    with HubServer(FILES) as server:
        yield server


class Fetched:
    """Fetches into one folder, and remembers what people were told."""

    def __init__(self, server: HubServer, folder: Path) -> None:
        self.said: list[str] = []
        self._server = server
        self._folder = folder

    def __call__(self, words: str, memory: int = MEMORY) -> Path:
        return Hub(self.said.append, self._server.url).fetch(parse_hub_model(words), self._folder, memory)


@pytest.fixture
def fetch(server: HubServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Fetched:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "library"))
    return Fetched(server, tmp_path / "kept")


@pytest.mark.parametrize(
    ("words", "file", "content"),
    [
        ("hf:owner/one", "one-Q4_K_M.gguf", SMALL),
        ("hf:owner/one:mmproj-F16.gguf", "mmproj-F16.gguf", b"p"),
        ("hf:owner/several:a-Q8_0.gguf", "a-Q8_0.gguf", b"8"),
        ("hf:owner/several:q4_k_m", "a-Q4_K_M.gguf", b"4"),
        ("hf:owner/several:sub/a-Q4_0.gguf", "sub/a-Q4_0.gguf", b"0"),
    ],
)
def test_the_file_that_is_meant_is_fetched_and_kept(
    fetch: Fetched, tmp_path: Path, words: str, file: str, content: bytes
) -> None:
    path = fetch(words)
    assert path == tmp_path / "kept" / file
    assert path.read_bytes() == content
    assert parse_hub_model(words).kept(tmp_path / "kept") == path
    assert fetch.said == [f"fetching {file} of {words.removeprefix('hf:').split(':')[0]} into {tmp_path / 'kept'}"]


@pytest.mark.parametrize(
    ("words", "refusal"),
    [
        ("hf:owner/several", "hf:owner/several:a-Q4_K_M.gguf. It has a-Q4_K_M.gguf, a-Q8_0.gguf, sub/a-Q4_0.gguf."),
        ("hf:owner/several:Q2_K", "owner/several has no GGUF file Q2_K. It has a-Q4_K_M.gguf, a-Q8_0.gguf, sub/"),
        ("hf:owner/several:b.gguf", "owner/several has no GGUF file b.gguf. It has a-Q4_K_M.gguf"),
        ("hf:owner/parts", "a-Q8_0-00001-of-00002.gguf in owner/parts is one part of a model"),
        ("hf:owner/parts:Q8_0", "a-Q8_0-00001-of-00002.gguf in owner/parts is one part of a model"),
        ("hf:owner/none", "owner/none has no model in GGUF. Choose a repository that has"),
        (
            "hf:owner/missing",
            "There is no repository owner/missing, or it is private: correct the name, or set HF_TOKEN",
        ),
        ("hf:-owner/a--b", "-owner/a--b is no name of a repository on Hugging Face"),
    ],
)
def test_what_cannot_be_fetched_gets_one_clear_line(fetch: Fetched, words: str, refusal: str) -> None:
    with pytest.raises(CliError) as error:
        fetch(words)
    assert refusal in error.value.message
    assert "\n" not in error.value.message


def test_a_gated_repository(server: HubServer, fetch: Fetched) -> None:
    server.gated.add("owner/one")
    with pytest.raises(CliError, match=r"^owner/one is gated: accept its terms on its page, and set HF_TOKEN"):
        fetch("hf:owner/one")


def test_a_server_that_fails_or_is_not_there(server: HubServer, fetch: Fetched, tmp_path: Path) -> None:
    server.failures.append(507)
    with pytest.raises(CliError, match=r"^http://127\.0\.0\.1:\d+ answered 507 for owner/one\. Start again later"):
        fetch("hf:owner/one")
    nowhere = Hub(fetch.said.append, "http://127.0.0.1:9")
    with pytest.raises(CliError, match=r"^http://127\.0\.0\.1:9 cannot be reached \(ConnectError\)"):
        nowhere.fetch(parse_hub_model("hf:owner/one"), tmp_path / "kept", MEMORY)


def test_a_broken_connection_is_resumed_where_it_broke(server: HubServer, fetch: Fetched) -> None:
    server.breaks.append(12 * MIB)
    assert fetch("hf:owner/large").read_bytes() == LARGE
    assert f"GET /store/{digest(LARGE)} bytes={10 * MIB}-" in server.requests


def test_the_next_start_goes_on_where_the_last_one_ended(server: HubServer, fetch: Fetched, tmp_path: Path) -> None:
    server.breaks.append(12 * MIB)
    server.fails_after_break = 507
    with pytest.raises(CliError, match="answered 507 for owner/large"):
        fetch("hf:owner/large")
    (part,) = (tmp_path / "kept").iterdir()
    assert part.stat().st_size == 10 * MIB
    assert parse_hub_model("hf:owner/large").kept(tmp_path / "kept") is None
    server.requests.clear()
    assert fetch("hf:owner/large").read_bytes() == LARGE
    assert fetch.said[-1].startswith("continuing large.gguf")
    assert f"GET /store/{digest(LARGE)} bytes={10 * MIB}-" in server.requests
    assert [path.name for path in (tmp_path / "kept").iterdir()] == ["large.gguf"]


def test_a_file_that_came_damaged_is_deleted(server: HubServer, fetch: Fetched, tmp_path: Path) -> None:
    server.damaged = True
    with pytest.raises(CliError, match=r"^one-Q4_K_M\.gguf of owner/one came damaged, and was deleted"):
        fetch("hf:owner/one")
    assert list((tmp_path / "kept").iterdir()) == []
    server.damaged = False
    assert fetch("hf:owner/one").read_bytes() == SMALL


def test_what_has_changed_meanwhile_is_not_continued(server: HubServer, fetch: Fetched, tmp_path: Path) -> None:
    (tmp_path / "kept").mkdir()
    (tmp_path / "kept" / "one-Q4_K_M.gguf.0123456789abcdef.part").write_bytes(b"older")
    assert fetch("hf:owner/one").read_bytes() == SMALL
    assert [path.name for path in (tmp_path / "kept").iterdir()] == ["one-Q4_K_M.gguf"]


def test_a_model_that_is_too_large_is_not_fetched(server: HubServer, fetch: Fetched) -> None:
    with pytest.raises(
        CliError, match=r"large\.gguf of owner/large needs 1\.8 GiB of memory, and this machine has 1\."
    ):
        fetch("hf:owner/large", memory=1 << 30)
    assert not any("store" in request for request in server.requests)


def test_a_file_in_the_cache_of_the_library_is_used(fetch: Fetched, server: HubServer, tmp_path: Path) -> None:
    from huggingface_hub import hf_hub_download

    cached = hf_hub_download("owner/one", "one-Q4_K_M.gguf", endpoint=server.url, cache_dir=tmp_path / "library")
    server.requests.clear()
    assert fetch("hf:owner/one") == Path(cached)
    assert not any("store" in request for request in server.requests)
