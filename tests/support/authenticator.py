"""An authenticator in software, which makes credentials and signs with them, and misbehaves where a test says so."""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import dataclass, field
from typing import Any

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from fido2.cose import ES256, CoseKey
from fido2.utils import websafe_decode, websafe_encode
from fido2.webauthn import Aaguid, AttestationObject, AttestedCredentialData, AuthenticatorData, CollectedClientData

FLAG = AuthenticatorData.FLAG
VERIFIED = FLAG.UP | FLAG.UV


@dataclass
class Credential:
    """A credential that an authenticator keeps."""

    id: bytes
    user_handle: bytes
    key: ec.EllipticCurvePrivateKey
    counter: int = 0


@dataclass
class Authenticator:
    """Makes credentials for the pages of one origin, and signs with the newest of them."""

    origin: str
    credentials: list[Credential] = field(default_factory=list)
    # What it says in place of the truth, if anything.
    flags: FLAG = VERIFIED
    domain: str = ""
    cross_origin: bool = False
    # How much its counter moves with each signature.
    step: int = 1
    # What it says that its keys are for (COSE): ES256.
    algorithm: int = -7

    def create(self, options_json: str, credential_id: bytes = b"") -> str:
        """Returns the response to the options for a new credential, of a given id if the test wants one."""
        options = json.loads(options_json)
        made = Credential(
            credential_id or os.urandom(32),
            websafe_decode(options["user"]["id"]),
            ec.generate_private_key(ec.SECP256R1()),
        )
        self.credentials.append(made)
        data = AuthenticatorData.create(
            self._domain_hash(options["rp"]["id"]),
            self.flags | FLAG.AT,
            made.counter,
            AttestedCredentialData.create(Aaguid.NONE, made.id, self._public_key(made)),
        )
        client_data = self._client_data(CollectedClientData.TYPE.CREATE, options)
        return self._response(
            made.id,
            clientDataJSON=websafe_encode(client_data),
            attestationObject=websafe_encode(AttestationObject.create("none", data, {})),
        )

    def get(self, options_json: str, credential: Credential | None = None) -> str:
        """Returns the response to the options for a signature, by one of the credentials."""
        options = json.loads(options_json)
        used = credential or self.credentials[-1]
        used.counter += self.step
        data = AuthenticatorData.create(self._domain_hash(options["rpId"]), self.flags, used.counter)
        client_data = self._client_data(CollectedClientData.TYPE.GET, options)
        signature = used.key.sign(data + hashlib.sha256(client_data).digest(), ec.ECDSA(hashes.SHA256()))
        return self._response(
            used.id,
            clientDataJSON=websafe_encode(client_data),
            authenticatorData=websafe_encode(data),
            signature=websafe_encode(signature),
            userHandle=websafe_encode(used.user_handle),
        )

    def _public_key(self, credential: Credential) -> CoseKey:
        known = ES256.from_cryptography_key(credential.key.public_key())  # type: ignore[no-untyped-call]  # fido2 gives it no types.
        return CoseKey.parse({**known, 3: self.algorithm})

    def _domain_hash(self, domain: str) -> bytes:
        return hashlib.sha256((self.domain or domain).encode()).digest()

    def _client_data(self, kind: str, options: dict[str, Any]) -> CollectedClientData:
        return CollectedClientData.create(kind, options["challenge"], self.origin, self.cross_origin)

    def _response(self, credential_id: bytes, **response: str) -> str:
        return json.dumps(
            {
                "id": websafe_encode(credential_id),
                "rawId": websafe_encode(credential_id),
                "type": "public-key",
                "clientExtensionResults": {},
                "response": response,
            }
        )
