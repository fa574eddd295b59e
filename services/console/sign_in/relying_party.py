"""Where passkeys work: a domain that they are made for, and the one origin whose pages use them.

Browsers know no passkeys for an address without a name, so on the local machine they work at `localhost` only. Auth
needs an extra for them, which is installed there if it is installed here.
"""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from importlib.util import find_spec

from aiohttp import web

from services.common.extras import how_to_install
from services.common.settings import SettingsError
from services.console.http.origin import Origin
from tiermesh.auth.v1 import sign_in_pb2

INSTALLED = find_spec("fido2") is not None


@dataclass(frozen=True, slots=True)
class RelyingParty:
    """The console as browsers know it."""

    # For which passkeys are made: the host, or a domain that it belongs to.
    domain: str
    origin: str

    def to_proto(self) -> sign_in_pb2.RelyingParty:
        """Returns the message of the contract."""
        return sign_in_pb2.RelyingParty(id=self.domain, origin=self.origin)

    def serves(self, request: web.Request) -> bool:
        """Tells whether a page that is opened so can use passkeys."""
        return request.host.lower() == self.origin.partition("//")[2]


def relying_party(origin: Origin, domain: str, *, installed: bool = INSTALLED) -> RelyingParty | None:
    """Returns where passkeys work by the setting PASSKEY_DOMAIN; None if they do not, as `why_none` says.

    Raises SettingsError for a domain that no page of this origin may use, or that is useless.
    """
    if not installed:
        if domain:
            raise SettingsError(f"PASSKEY_DOMAIN needs passkeys; {how_to_install('passkeys')}")
        return None
    named = next((each for each in origin.origins if _has_name(_host(each))), None)
    if named is None:
        if domain:
            raise SettingsError("PASSKEY_DOMAIN needs a PUBLIC_URL with a host name, because browsers demand one")
        return None
    host, domain = _host(named), domain.lower()
    if domain and domain != host and not ("." in domain and host.endswith(f".{domain}")):
        raise SettingsError(f"PASSKEY_DOMAIN must be {host}, the host of PUBLIC_URL, or a domain that it belongs to")
    return RelyingParty(domain or host, named)


def why_none(*, installed: bool = INSTALLED) -> str:
    """Returns why there are no passkeys."""
    if installed:
        return "the address of this console has no host name"
    return "the operator of this service has not installed them"


def _host(origin: str) -> str:
    host = origin.partition("//")[2]
    return host.rpartition(":")[0] if not host.endswith("]") and ":" in host else host


def _has_name(host: str) -> bool:
    try:
        ipaddress.ip_address(host.strip("[]"))
    except ValueError:
        return True
    return False
