"""Images that cannot be decoded are the request's fault, whatever is wrong with them: never a failure of the runner."""

from __future__ import annotations

import struct

import pytest

from services.common.errors import Code, MeshError
from services.runner.engines.llamacpp.media import decodable

PNG = b"\x89PNG\r\n\x1a\n" + struct.pack(">I4sIIBB", 13, b"IHDR", 8, 8, 8, 2)


@pytest.mark.parametrize("image", [PNG[:length] for length in range(len(PNG))] + [PNG[:-1] + b"\x09"])
def test_a_png_that_breaks_off_in_its_header_is_refused(image: bytes) -> None:
    with pytest.raises(MeshError) as refusal:
        decodable(image)
    assert refusal.value.code is Code.INVALID_REQUEST
