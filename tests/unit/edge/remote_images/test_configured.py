from __future__ import annotations

import pytest

from services.common.errors import MeshError
from services.common.settings import SettingsError, load_settings
from services.edge.remote_images import ImageSource
from services.edge.remote_images.configured import image_loader
from services.edge.settings import EdgeSettings


def settings(**fields: str) -> EdgeSettings:
    environ = {f"TIERMESH_EDGE_{name.upper()}": value for name, value in fields.items()}
    return load_settings(EdgeSettings, "edge", environ)


async def refusal(url: str, **fields: str) -> str:
    with pytest.raises(MeshError) as error:
        await image_loader(settings(**fields)).load([ImageSource(url, "place")], "account")
    return error.value.message


async def test_defaults_reach_public_https_only() -> None:
    assert "is not on the public internet" in await refusal("https://127.0.0.1/")
    assert "must begin with https://" in await refusal("http://1.1.1.1/")
    assert "must not name a port" in await refusal("https://1.1.1.1:8443/")


async def test_settings_reach_the_policy() -> None:
    assert "is not fetched here" in await refusal("https://1.1.1.1/", remote_images="off")
    assert "is on a host that images" in await refusal("https://1.1.1.1/", remote_images="example.com")
    assert "is not on the public internet" in await refusal("http://127.0.0.1/", remote_image_http="true")
    assert "is not on the public internet" in await refusal("https://10.0.0.1:8443/", remote_image_ports="8443")


@pytest.mark.parametrize(
    "fields",
    [
        {"remote_images": ""},
        {"remote_image_networks": "10.0.0.0/99"},
        {"remote_image_ports": ""},
        {"remote_image_ports": "https"},
    ],
)
def test_a_wrong_setting_is_named(fields: dict[str, str]) -> None:
    (name,) = fields
    with pytest.raises(SettingsError, match=f"TIERMESH_EDGE_{name.upper()}"):
        image_loader(settings(**fields))
