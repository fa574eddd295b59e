"""Signs what models think, so that a thought which comes back is known to be theirs.

See docs/decisions/0028-signed-reasoning.md.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import secrets

from services.edge.http.parsing import invalid

# The form of a signature; another form would have another number.
_VERSION = b"\x01"
_ORIGIN_BYTES = 12


class ThoughtSigner:
    """Signs the thoughts of one model for one account, and knows them again.

    A signature says which key, account and model it belongs to, and proves the text of the thought.
    """

    def __init__(self, key: bytes, account_id: str, model_id: str) -> None:
        self._key = key
        self._origin = self._code(f"origin\0{account_id}\0{model_id}".encode())[:_ORIGIN_BYTES]

    def sign(self, thought: str) -> str:
        """Returns the signature of a thought, as base64."""
        return base64.b64encode(_VERSION + self._origin + self._proof(thought)).decode()

    def read(self, thought: str, signature: str | None, place: str) -> str:
        """Returns a thought that came back, if it is one of this model; "" if it is of another origin.

        Raises MeshError INVALID_REQUEST if it was changed since it was signed.
        """
        content = _decoded(signature or "")
        head = _VERSION + self._origin
        if not hmac.compare_digest(content[: len(head)], head):
            return ""
        if not hmac.compare_digest(content[len(head) :], self._proof(thought)):
            param = f"{place}.signature"
            raise invalid(param, f"'{param}' is not the signature of this thought; send both as they were answered.")
        return thought

    def _proof(self, thought: str) -> bytes:
        return self._code(b"thought\0" + self._origin + thought.encode())

    def _code(self, content: bytes) -> bytes:
        return hmac.digest(self._key, content, hashlib.sha256)


class ThoughtKey:
    """The key behind all signatures of a deployment: the setting, or a random one of this process if it is empty."""

    def __init__(self, setting: str) -> None:
        self._key = setting.encode() or secrets.token_bytes(32)

    def signer(self, account_id: str, model_id: str) -> ThoughtSigner:
        """Returns what signs the thoughts of a model for an account."""
        return ThoughtSigner(self._key, account_id, model_id)


def _decoded(signature: str) -> bytes:
    try:
        return base64.b64decode(signature, validate=True)
    except (binascii.Error, ValueError):
        return b""
