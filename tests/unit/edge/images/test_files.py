"""Images can be fetched by whoever has their URL, until it expires, and by nobody else."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable
from itertools import count
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.common.errors import Code, MeshError
from services.edge.images.files import ImageFiles, SignedPath
from services.edge.images.storage import DirectoryStorage, ImageStorage, MemoryStorage
from tests.unit.auth.manual_clock import ManualClock

LIFETIME = 60.0


@pytest.fixture(params=["memory", "directory"])
def storage(request: pytest.FixtureRequest, tmp_path: Path) -> ImageStorage:
    return MemoryStorage(1000) if request.param == "memory" else DirectoryStorage(tmp_path / "images")


def keep(storage: ImageStorage, clock: Callable[[], float], key: bytes = b"key") -> ImageFiles:
    numbers = count()
    return ImageFiles(storage, key, LIFETIME, clock, new_id=lambda: f"{next(numbers):032x}")


async def store(files: ImageFiles, image: bytes, form: str) -> SignedPath:
    """Keeps the only image of a request."""
    async with files.album("account", len(image)) as album:
        return await album.keep(image, form)


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
    path = await store(files, b"picture", "png")
    assert await files.fetch(path.name, str(path.expires), path.signature) == (b"picture", "image/png")
    clock.now += LIFETIME - 1
    assert await files.fetch(path.name, str(path.expires), path.signature) == (b"picture", "image/png")
    clock.now += 1
    assert await refused(files, path.name, path.expires, path.signature)


async def test_only_the_genuine_url_works(storage: ImageStorage) -> None:
    files = keep(storage, ManualClock(1000.0))
    path = await store(files, b"picture", "webp")
    other = await store(files, b"another", "webp")
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
    path = await store(one, b"picture", "jpeg")
    assert await other.fetch(path.name, str(path.expires), path.signature) == (b"picture", "image/jpeg")
    stranger = keep(DirectoryStorage(tmp_path), clock, key=b"another key")
    assert await refused(stranger, path.name, path.expires, path.signature)


async def test_a_directory_forgets_what_has_expired(tmp_path: Path) -> None:
    clock = ManualClock(1000.0)
    files = keep(DirectoryStorage(tmp_path), clock)
    await store(files, b"old", "png")
    clock.now += LIFETIME
    new = await store(files, b"new", "png")
    assert names(tmp_path) == [new.name]


async def test_a_directory_forgets_nothing_but_images_and_old_drafts(tmp_path: Path) -> None:
    clock = ManualClock(10_000.0)
    kept = {"accounts.db": 0.0, ".0123456789abcdef": clock.now, "0123.png": 0.0}
    for name, time in {**kept, ".fedcba9876543210": clock.now - 3600.0}.items():
        (tmp_path / name).touch()
        os.utime(tmp_path / name, (time, time))
    path = await store(keep(DirectoryStorage(tmp_path), clock), b"picture", "png")
    assert sorted(names(tmp_path)) == sorted([*kept, path.name])


async def put(memory: MemoryStorage, name: str, count: int, owner: str, *, now: float = 0) -> None:
    """Puts an image that lives for a minute."""
    await memory.put(name, b"x" * count, owner=owner, expires=int(now) + 60, now=now)


async def test_what_is_kept_stays_until_it_expires_whoever_comes() -> None:
    memory = MemoryStorage(10)
    await put(memory, "a", 4, "one")
    await put(memory, "c", 5, "two")
    # More than half of it, and more than all of it.
    for name, owner in (("b", "one"), ("d", "three")):
        with pytest.raises(MeshError, match="b64_json") as caught:
            await put(memory, name, 2, owner)
        assert caught.value.code is Code.UNAVAILABLE
        assert caught.value.retry_after
        assert await memory.get(name) is None
    await put(memory, "e", 1, "three")
    assert [await memory.get(name) for name in "ace"] == [b"xxxx", b"xxxxx", b"x"]
    # What has expired belongs to nobody.
    await put(memory, "f", 5, "three", now=60)
    assert [await memory.get(name) for name in "acef"] == [None, None, None, b"xxxxx"]


@given(
    calls=st.lists(
        st.tuples(st.sampled_from("abc"), st.integers(0, 9), st.lists(st.integers(0, 9), max_size=4), st.booleans()),
        max_size=12,
    )
)
async def test_every_image_that_was_sold_can_be_fetched(calls: list[tuple[str, int, list[int], bool]]) -> None:
    clock = ManualClock(0.0)
    memory = MemoryStorage(20)
    files = keep(memory, clock)
    sold: list[tuple[SignedPath, int]] = []
    for owner, expected, sizes, fails in calls:
        clock.now += LIFETIME / 5
        with contextlib.suppress(MeshError, ZeroDivisionError):
            async with files.album(owner, expected) as album:
                kept = [(await album.keep(b"x" * size, "png"), size) for size in sizes]
                if fails:
                    raise ZeroDivisionError
            sold += kept
        for path, size in sold:
            if path.expires > clock.now:
                image, _ = await files.fetch(path.name, str(path.expires), path.signature)
                assert len(image) == size
    # Nothing stays behind of those that failed, nor of what was set aside.
    clock.now += LIFETIME
    for owner in "ab":
        memory.reserve(owner, 10, clock.now)


async def test_room_is_looked_for_before_anything_is_made(storage: ImageStorage) -> None:
    files = keep(storage, ManualClock(0.0))
    async with files.album("account", 400) as first:
        if isinstance(storage, MemoryStorage):
            with pytest.raises(MeshError, match="no room"):
                async with files.album("account", 400):
                    pytest.fail("there is none")
        await first.keep(b"picture", "png")
    async with files.album("account", 400):
        pass


async def test_the_images_of_a_request_that_fails_are_forgotten(storage: ImageStorage) -> None:
    files = keep(storage, ManualClock(0.0))
    with contextlib.suppress(ZeroDivisionError):
        async with files.album("account", 400) as album:
            path = await album.keep(b"picture", "png")
            raise ZeroDivisionError
    assert await refused(files, path.name, path.expires, path.signature)


async def test_a_directory_that_cannot_be_written_is_an_error_that_helps(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(MeshError, match="b64_json") as caught:
        await store(keep(DirectoryStorage(tmp_path / "file"), ManualClock(0.0)), b"picture", "png")
    assert caught.value.code is Code.UNAVAILABLE
