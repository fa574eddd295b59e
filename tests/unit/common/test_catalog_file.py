from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from prometheus_client import REGISTRY

from services.common.catalog import CatalogError
from services.common.catalog_file import CatalogFile
from tests.support.waiting import eventually


def content(price: int, name: str = "small") -> str:
    return f"models:\n  - {{id: {name}, kind: chat, tier: pro, price: {price}, context: 64}}\n"


def price(file: CatalogFile, name: str = "small") -> int | None:
    model = file.catalog.get(name)
    return model.price if model else None


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "models.yaml"
    path.write_text(content(10))
    return path


def usable() -> float | None:
    return REGISTRY.get_sample_value("tiermesh_catalog_usable")


def test_a_changed_file_changes_the_catalog_that_everybody_holds(path: Path) -> None:
    file = CatalogFile(path)
    held, model = file.catalog, file.catalog.get("small")
    path.write_text(content(12) + content(3, "tiny").removeprefix("models:\n"))
    file.refresh()
    assert held is file.catalog
    assert (price(file), price(file, "tiny")) == (12, 3)
    # A request that has begun goes on with the model that it found.
    assert model is not None
    assert model.price == 10


@pytest.mark.parametrize("mistake", [content(-1), "models: [", "", "models: []", "models: 2024-13-45"])
def test_a_wrong_file_changes_nothing_and_is_told(path: Path, mistake: str, capsys: pytest.CaptureFixture[str]) -> None:
    file = CatalogFile(path)
    assert usable() == 1
    path.write_text(mistake)
    file.refresh()
    file.refresh()
    assert (price(file), usable()) == (10, 0)
    assert capsys.readouterr().out.count("catalog_unusable") == 1
    path.write_text(content(11))
    file.refresh()
    assert (price(file), usable()) == (11, 1)


def test_a_file_that_is_gone_changes_nothing(path: Path) -> None:
    file = CatalogFile(path)
    path.unlink()
    file.refresh()
    assert (price(file), usable()) == (10, 0)


def test_a_config_map_is_replaced_by_a_link_to_another_folder(tmp_path: Path) -> None:
    """As the kubelet does it, which changes neither the path nor, seen through it, need it change the time."""
    for name, amount in [("one", 10), ("two", 20)]:
        (tmp_path / name).mkdir()
        (tmp_path / name / "models.yaml").write_text(content(amount))
    (tmp_path / "..data").symlink_to("one")
    (tmp_path / "models.yaml").symlink_to("..data/models.yaml")
    file = CatalogFile(tmp_path / "models.yaml")
    (tmp_path / "new").symlink_to("two")
    (tmp_path / "new").rename(tmp_path / "..data")
    file.refresh()
    assert price(file) == 20


def test_a_wrong_file_ends_the_start(path: Path) -> None:
    path.write_text(content(-1))
    with pytest.raises(CatalogError):
        CatalogFile(path)


async def test_it_is_followed_until_cancelled(path: Path) -> None:
    file = CatalogFile(path)
    following = asyncio.create_task(file.follow(interval=0.001))
    await asyncio.to_thread(path.write_text, content(12))
    await eventually(lambda: price(file) == 12)
    following.cancel()
    await asyncio.gather(following, return_exceptions=True)
