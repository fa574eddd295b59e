"""The settings of the console: `TIERMESH_CONSOLE_<FIELD>`."""

from __future__ import annotations

from typing import Annotated, Literal
from urllib.parse import urlsplit

import msgspec

from services.common.settings import ServiceSettings, SettingsError


class SiteSettings(ServiceSettings, frozen=True, kw_only=True):
    """The settings that the two consoles share."""

    # The URL at which people open the console, such as https://console.example.org. It must be https, except on the
    # local machine. If it is empty, this is http://localhost with the port of LISTEN, which must be a local address.
    public_url: str = ""
    # Comma-separated addresses of auth's replicas, host:port each. `dns:host:port` stands for every address of the
    # name, looked up again every few seconds.
    auth_addresses: str = "127.0.0.1:7101"
    # Addresses of billing's replicas, in the same form.
    billing_addresses: str = "127.0.0.1:7102"
    # Addresses of the routers, in the same form.
    router_addresses: str = "127.0.0.1:7103"
    # How long auth, billing and the router may take to reply. Unit: seconds.
    call_timeout: Annotated[float, msgspec.Meta(gt=0)] = 5.0
    # How long a request may take, from the end of its head to its page. Unit: seconds.
    request_timeout: Annotated[float, msgspec.Meta(gt=0)] = 20.0
    # How long a client may take to send the head of a request, from its first byte. Unit: seconds.
    head_seconds: Annotated[float, msgspec.Meta(gt=0)] = 15.0
    # How long a client may take to send a form or a question. Unit: seconds.
    body_seconds: Annotated[float, msgspec.Meta(gt=0)] = 30.0
    # How many attempts to sign in a client address has in any 60 seconds.
    sign_ins_per_minute: Annotated[int, msgspec.Meta(ge=1)] = 10
    # How many trusted proxies before the console add an address to X-Forwarded-For. With 0, the client is the peer of
    # the connection.
    trusted_proxies: Annotated[int, msgspec.Meta(ge=0, le=10)] = 0


class ConsoleSettings(SiteSettings, frozen=True, kw_only=True):
    """The settings of one console process."""

    # Where the console serves its pages, host:port.
    listen: str = "127.0.0.1:8001"
    # Addresses of payments' replicas, in the same form as the others. If it is empty, this installation takes no
    # deposits: the page "Top up" then says that the operator grants credits.
    payments_addresses: str = ""
    # The domain that passkeys are made for: the host of PUBLIC_URL or a domain that it belongs to, such as example.org.
    # If it is empty, this is the host. Passkeys that were made for another domain stop working.
    passkey_domain: str = ""
    # The number of the chain (EIP-155) in the message that an Ethereum wallet signs to sign in. A wallet has the same
    # address on every chain, so it can be another chain than that of deposits. With 0, no wallet signs in.
    wallet_chain_id: Annotated[int, msgspec.Meta(ge=0, le=2**53 - 1)] = 1
    # The base URL of the API, with /v1, for the examples that the console shows.
    api_url: str = "http://127.0.0.1:8000/v1"
    # The base URL of the API, with /v1, at which the console itself reaches it for the playground.
    edge_url: str = "http://127.0.0.1:8000/v1"
    # How long billing may take to add up the usage of an account. Unit: seconds.
    report_timeout: Annotated[float, msgspec.Meta(gt=0)] = 15.0
    # How long an answer in the playground may take. Unit: seconds.
    answer_timeout: Annotated[float, msgspec.Meta(gt=0)] = 600.0
    # Who can open an account: nobody, everybody, or those who know the REGISTRATION_CODE.
    registration: Literal["off", "open", "code"] = "off"
    # The invitation code, if REGISTRATION is `code`.
    registration_code: str = ""
    # How many credits a new account gets; 0 is none.
    registration_credits: Annotated[int, msgspec.Meta(ge=0, le=1_000_000)] = 0
    # How many accounts can be opened from a client address in any hour, attempts included.
    registrations_per_hour: Annotated[int, msgspec.Meta(ge=1)] = 5
    # How long after signing in a person can create keys and change the account without showing the key, the passkey or
    # the wallet once more. Unit: seconds.
    fresh_seconds: Annotated[float, msgspec.Meta(gt=0)] = 300.0

    def __post_init__(self) -> None:
        """Checks what depends on another setting."""
        if (self.registration == "code") is not bool(self.registration_code):
            raise SettingsError("REGISTRATION must be `code` if there is a REGISTRATION_CODE, and only then")
        if urlsplit(self.edge_url).scheme not in {"http", "https"}:
            raise SettingsError("EDGE_URL must be the base URL of the API, such as http://tiermesh-edge/v1")
