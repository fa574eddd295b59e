"""Images can be fetched by whoever has their URL, until it expires, and by nobody else."""

from __future__ import annotations

import os
from collections.abc import Callable
from itertools import count
from pathlib import Path

import pytest

from services.common.errors import Code, MeshError
from services.edge.images.files import ImageFiles
from services.edge.images.storage import DirectoryStorage, ImageStorage, MemoryStorage
from tests.unit.auth.manual_clock import ManualClock

LIFETIME = 60.0


@pytest.fixture(params=["memory", "directory"])
def storage(request: pytest.FixtureRequest, tmp_path: Path) -> ImageStorage:
    return MemoryStorage(1000) if request.param == "memory" else DirectoryStorage(tmp_path / "images")


def keep(storage: ImageStorage, clock: Callable[[], float], key: bytes = b"key") -> ImageFiles:
    numbers = count()
    return ImageFiles(storage, key, LIFETIME, clock, new_id=lambda: f"{next(numbers):032x}")


def names(directory: Path) -> list[str]:
    return [path.name for path in directory.iterdir()]


async def refused(files: ImageFiles, name: str, expires: object, signature: str) -> bool:
    try:
        await files.fetch(name, str(expires), signature)
    except MeshError as error:
        return error.code is Code.NOT_FOUND
    return False


async def test_a_url_leads_to_its_image_until_it_expires(storage: ImageStorage) -> None:
    clock = ManualClock(1000.0)
    files = keep(storage, clock)
    path = await files.keep(b"picture", "png", "account")
    assert await files.fetch(path.name, str(path.expires), path.signature) == (b"picture", "image/png")
    clock.now += LIFETIME - 1
    assert await files.fetch(path.name, str(path.expires), path.signature) == (b"picture", "image/png")
    clock.now += 1
    assert await refused(files, path.name, path.expires, path.signature)


async def test_only_the_genuine_url_works(storage: ImageStorage) -> None:
    files = keep(storage, ManualClock(1000.0))
    path = await files.keep(b"picture", "webp", "account")
    other = await files.keep(b"another", "webp", "account")
    assert await refused(files, path.name, path.expires + 1, path.signature)
    assert await refused(files, other.name, path.expires, path.signature)
    for wrong in ("", "0" * 64, "\u00e9", path.signature[:-1]):
        assert await refused(files, path.name, path.expires, wrong)
    for wrong in ("../secret.png", path.name + "x", "", path.name.replace("webp", "png")):
        assert await refused(files, wrong, path.expires, path.signature)
    for strange in ("", "-1", "1e9", "9" * 400, "\u0661"):
        assert await refused(files, path.name, strange, path.signature)


async def test_edges_that_share_directory_and_key_serve_each_others_images(tmp_path: Path) -> None:
    clock = ManualClock(1000.0)
    one, other = (keep(DirectoryStorage(tmp_path), clock) for _ in range(2))
    path = await one.keep(b"picture", "jpeg", "account")
    assert await other.fetch(path.name, str(path.expires), path.signature) == (b"picture", "image/jpeg")
    stranger = keep(DirectoryStorage(tmp_path), clock, key=b"another key")
    assert await refused(stranger, path.name, path.expires, path.signature)


async def test_a_directory_forgets_what_has_expired(tmp_path: Path) -> None:
    clock = ManualClock(1000.0)
    files = keep(DirectoryStorage(tmp_path), clock)
    await files.keep(b"old", "png", "account")
    clock.now += LIFETIME
    new = await files.keep(b"new", "png", "account")
    assert names(tmp_path) == [new.name]


async def test_a_directory_forgets_nothing_but_images_and_old_drafts(tmp_path: Path) -> None:
    clock = ManualClock(10_000.0)
    kept = {"accounts.db": 0.0, ".0123456789abcdef": clock.now, "0123.png": 0.0}
    for name, time in {**kept, ".fedcba9876543210": clock.now - 3600.0}.items():
        (tmp_path / name).touch()
        os.utime(tmp_path / name, (time, time))
    path = await keep(DirectoryStorage(tmp_path), clock).keep(b"picture", "png", "account")
    assert sorted(names(tmp_path)) == sorted([*kept, path.name])


async def test_memory_is_bounded_and_forgets_what_has_expired() -> None:
    memory = MemoryStorage(10)
    await memory.put("a", b"12345", owner="account", expires=60, now=0)
    await memory.put("b", b"12345", owner="account", expires=61, now=1)
    assert await memory.get("a") == b"12345"
    await memory.put("c", b"1", owner="account", expires=62, now=2)
    assert [await memory.get(name) for name in "abc"] == [None, b"12345", b"1"]
    await memory.put("d", b"1", owner="account", expires=200, now=100)
    assert [await memory.get(name) for name in "bcd"] == [None, None, b"1"]
    await memory.put("e", b"x" * 11, owner="account", expires=201, now=101)
    assert await memory.get("e") is None


async def test_nobody_pushes_out_the_images_of_those_who_have_less() -> None:
    memory = MemoryStorage(10)
    await memory.put("small", b"123", owner="one", expires=60, now=0)
    for number in range(20):
        await memory.put(f"large-{number}", b"1234", owner="other", expires=60, now=0)
    assert await memory.get("small") == b"123"
    # There is room for one of the other's, and it is the last.
    assert [number for number in range(20) if await memory.get(f"large-{number}")] == [19]
    await memory.put("huge", b"x" * 11, owner="third", expires=60, now=0)
    assert [await memory.get(name) for name in ("small", "large-19", "huge")] == [b"123", b"1234", None]
    # Whoever has most gives way, also to those who come later.
    for name in ("a", "b"):
        await memory.put(name, b"12", owner="third", expires=60, now=0)
    assert [await memory.get(name) for name in ("small", "large-19", "a", "b")] == [b"123", None, b"12", b"12"]


async def test_one_account_alone_may_fill_the_memory() -> None:
    memory = MemoryStorage(10)
    for name in "abc":
        await memory.put(name, b"12345", owner="one", expires=60, now=0)
    assert [await memory.get(name) for name in "abc"] == [None, b"12345", b"12345"]
    # What has expired belongs to nobody.
    await memory.put("d", b"1234567890", owner="other", expires=120, now=60)
    assert [await memory.get(name) for name in "bcd"] == [None, None, b"1234567890"]


async def test_a_directory_that_cannot_be_written_is_an_error_that_helps(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(MeshError, match="b64_json") as caught:
        await keep(DirectoryStorage(tmp_path / "file"), ManualClock(0.0)).keep(b"picture", "png", "account")
    assert caught.value.code is Code.UNAVAILABLE
