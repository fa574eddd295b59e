"""The two ceremonies of WebAuthn: an authenticator makes a credential, and later signs with it.

The specification is https://www.w3.org/TR/webauthn-3/; the library fido2 reads and checks what authenticators send.
This module says what is asked of them: to verify the person, and to keep a credential that is found without a name.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

from fido2.server import Fido2Server
from fido2.utils import websafe_encode
from fido2.webauthn import (
    AttestationConveyancePreference,
    AttestedCredentialData,
    AuthenticationResponse,
    CollectedClientData,
    PublicKeyCredentialDescriptor,
    PublicKeyCredentialParameters,
    PublicKeyCredentialRpEntity,
    PublicKeyCredentialType,
    PublicKeyCredentialUserEntity,
    RegistrationResponse,
    ResidentKeyRequirement,
    UserVerificationRequirement,
)

from services.auth.sign_in.challenge import LIFETIME, Challenge
from services.auth.sign_in.passkey import Passkey
from services.common.errors import Code, MeshError

# ES256, EdDSA and RS256 of COSE: every authenticator has one of them.
_ALGORITHMS = (-7, -8, -257)
_ALGORITHM_LABEL = 3
# Longer ones are forbidden by the specification.
_MAX_CREDENTIAL_ID = 1023
# Nothing that an authenticator sends without an attestation is nearly as long.
_MAX_JSON = 16 * 1024
_NAME = "tiermesh"


class MadeCredential(NamedTuple):
    """What an authenticator has made."""

    credential_id: bytes
    credential: bytes
    counter: int
    synced: bool


class Assertion(NamedTuple):
    """What an authenticator has signed, not checked yet."""

    credential_id: bytes
    challenge: bytes
    response: AuthenticationResponse


class Registration(NamedTuple):
    """What an authenticator has made, not checked yet."""

    challenge: bytes
    response: RegistrationResponse


def creation_options(challenge: Challenge, account_name: str, existing: Sequence[Passkey]) -> str:
    """Returns the options for a new credential as JSON; no authenticator makes a second one beside an existing one."""
    options, _ = _server(challenge).register_begin(
        PublicKeyCredentialUserEntity(
            id=challenge.account_id.encode(), name=account_name or _NAME, display_name=account_name or _NAME
        ),
        _descriptors(existing),
        resident_key_requirement=ResidentKeyRequirement.REQUIRED,
        user_verification=UserVerificationRequirement.REQUIRED,
        challenge=challenge.challenge,
    )
    return json.dumps(dict(options.public_key))


def request_options(challenge: Challenge, allowed: Sequence[Passkey]) -> str:
    """Returns the options for a signature as JSON; without `allowed`, the person chooses among all that there are."""
    options, _ = _server(challenge).authenticate_begin(
        _descriptors(allowed) or None,
        user_verification=UserVerificationRequirement.REQUIRED,
        challenge=challenge.challenge,
    )
    return json.dumps(dict(options.public_key))


def read_registration(credential_json: str) -> Registration:
    """Reads what a browser sends for a new credential; raises MeshError INVALID_REQUEST."""
    with _unreadable():
        response = RegistrationResponse.from_dict(_mapping(credential_json))
        return Registration(response.response.client_data.challenge, response)


def read_assertion(credential_json: str) -> Assertion:
    """Reads what a browser sends for a signature; raises MeshError INVALID_REQUEST."""
    with _unreadable():
        response = AuthenticationResponse.from_dict(_mapping(credential_json))
        return Assertion(response.raw_id, response.response.client_data.challenge, response)


def made_credential(challenge: Challenge, registration: Registration) -> MadeCredential:
    """Checks a new credential against the challenge that was taken; raises MeshError PERMISSION_DENIED."""
    with _refused("This passkey could not be registered. Try again, or use another one."):
        _check_same_origin(registration.response.response.client_data)
        data = _server(challenge).register_complete(_state(challenge), registration.response)
        made = data.credential_data
        if made is None or made.credential_id != registration.response.raw_id:
            raise ValueError("not the credential that was announced")
        if made.public_key[_ALGORITHM_LABEL] not in _ALGORITHMS or len(made.credential_id) > _MAX_CREDENTIAL_ID:
            raise ValueError("not what was asked for")
        return MadeCredential(made.credential_id, bytes(made), data.counter, data.is_backup_eligible())


def signed_counter(challenge: Challenge, assertion: Assertion, passkey: Passkey) -> int:
    """Checks a signature against the challenge that was taken, and returns the counter that was signed with it.

    Raises MeshError PERMISSION_DENIED.
    """
    with _refused("This passkey was not accepted. Try again, or sign in in another way."):
        response = assertion.response.response
        _check_same_origin(response.client_data)
        credential = AttestedCredentialData(passkey.credential)
        _server(challenge).authenticate_complete(_state(challenge), [credential], assertion.response)
        # A discoverable credential says whose it is, unless it was asked for by its id.
        if response.user_handle and response.user_handle != passkey.account_id.encode():
            raise ValueError("another account's")
        return response.authenticator_data.counter


def _server(challenge: Challenge) -> Fido2Server:
    server = Fido2Server(
        PublicKeyCredentialRpEntity(id=challenge.relying_party_id, name=_NAME),
        attestation=AttestationConveyancePreference.NONE,
        verify_origin=lambda origin: origin == challenge.origin,
    )
    server.timeout = round(LIFETIME * 1000)  # type: ignore[assignment]  # fido2 says None, and takes milliseconds.
    server.allowed_algorithms = [
        PublicKeyCredentialParameters(type=PublicKeyCredentialType.PUBLIC_KEY, alg=algorithm)
        for algorithm in _ALGORITHMS
    ]
    return server


def _state(challenge: Challenge) -> Mapping[str, Any]:
    """Returns what the library would have a server keep between the two halves."""
    return {
        "challenge": websafe_encode(challenge.challenge),
        "user_verification": UserVerificationRequirement.REQUIRED,
    }


def _descriptors(passkeys: Sequence[Passkey]) -> list[PublicKeyCredentialDescriptor]:
    return [
        PublicKeyCredentialDescriptor(type=PublicKeyCredentialType.PUBLIC_KEY, id=passkey.credential_id)
        for passkey in passkeys
    ]


def _check_same_origin(data: CollectedClientData) -> None:
    """Refuses what was done in a frame of another site, which the library lets pass."""
    if data.cross_origin:
        raise ValueError("in a frame of another site")


def _mapping(text: str) -> Mapping[str, Any]:
    if len(text) > _MAX_JSON:
        raise ValueError("too long")
    found = json.loads(text)
    if not isinstance(found, Mapping):
        raise TypeError("no object")
    return found


@contextmanager
def _unreadable() -> Iterator[None]:
    """Raises one error for the many kinds that the library raises while it reads the bytes of a stranger."""
    try:
        yield
    except Exception as error:
        message = "The response of the authenticator could not be read. Reload the page and try again."
        raise MeshError(Code.INVALID_REQUEST, message) from error


@contextmanager
def _refused(message: str) -> Iterator[None]:
    """Raises one error for whatever is wrong: it is nobody's business what exactly it was."""
    try:
        yield
    except Exception as error:
        raise MeshError(Code.PERMISSION_DENIED, message) from error
