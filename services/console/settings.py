"""The settings of the console: `TIERMESH_CONSOLE_<FIELD>`."""

from __future__ import annotations

from typing import Annotated

import msgspec

from services.common.settings import ServiceSettings


class ConsoleSettings(ServiceSettings, frozen=True, kw_only=True):
    """The settings of one console process."""

    # Where the console serves its pages, host:port.
    listen: str = "127.0.0.1:8001"
    # The URL at which people open the console, such as https://console.example.org. It must be https, except on the
    # local machine. If it is empty, this is http://localhost with the port of LISTEN, which must be a local address.
    public_url: str = ""
    # The base URL of the API, with /v1, for the examples that the console shows.
    api_url: str = "http://127.0.0.1:8000/v1"
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
    # How many attempts to sign in a client address has in any 60 seconds.
    sign_ins_per_minute: Annotated[int, msgspec.Meta(ge=1)] = 10
    # How many trusted proxies before the console add an address to X-Forwarded-For. With 0, the client is the peer of
    # the connection.
    trusted_proxies: Annotated[int, msgspec.Meta(ge=0, le=10)] = 0
    # How long after signing in a person can create and rotate keys without showing the key once more. Unit: seconds.
    fresh_seconds: Annotated[float, msgspec.Meta(gt=0)] = 300.0
