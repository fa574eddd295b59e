"""What the edge can be told by TIERMESH_EDGE_*."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

from services.common.settings import ServiceSettings


class EdgeSettings(ServiceSettings, frozen=True, kw_only=True):
    """Settings of the edge; times are in seconds."""

    listen: str = "127.0.0.1:8000"
    # Each a comma-separated list of host:port, one for each replica; dns:host:port stands for every address that the
    # name has, looked up again every few seconds.
    auth_addresses: str = "127.0.0.1:7101"
    billing_addresses: str = "127.0.0.1:7102"
    router_addresses: str = "127.0.0.1:7103"
    # The largest request body, in bytes: 28 MiB hold all images of a request as data: URLs.
    max_body_bytes: int = 28 * 1024 * 1024
    # The largest recording to be transcribed, in bytes.
    max_audio_bytes: int = 25 * 1024 * 1024
    # The most choices (`n`) that one request may ask for; they share one price.
    max_choices: int = 8
    # How long a client may take to send the head of a request, from its first byte, and then the body.
    head_seconds: float = 15.0
    body_seconds: float = 120.0
    # How long a client may read nothing of what waits for it before it is cut off.
    unread_seconds: float = 60.0
    # A comma-separated list of the origins whose web pages may use the API; * means all, empty means none.
    cors_origins: str = "*"
    # How long auth and billing may take to answer before the client gets a 503.
    call_timeout: float = 5.0
    # How long a request may wait for a free slot.
    queue_timeout: float = 30.0
    # How long a whole answer may take.
    request_timeout: float = 600.0
    # How long a finished answer waits for its charge to be durable before the client gets an error instead.
    settle_timeout: float = 30.0
    # How long a release that nobody waits for is tried again.
    release_timeout: float = 300.0
    # How long a stream of events may be silent before a comment keeps its connection alive.
    keep_alive_seconds: float = 15.0
    # Whether images are fetched from https: URLs: off, any, or a comma-separated list of host names, where .example.com
    # stands for all names below. Only public addresses are reached; see docs/vision.md.
    remote_images: str = "any"
    # Comma-separated ports of such URLs, and whether http: is allowed, which anyone on the way can read and change.
    remote_image_ports: str = "443"
    remote_image_http: bool = False
    # How long fetching one image may take, redirects included.
    remote_image_seconds: float = 10.0
    # How many are fetched at a time, for all requests together; others wait for their turn.
    remote_image_fetches: int = 32
    # Comma-separated networks that are reached although they are not public. Dangerous: whoever has an API key can make
    # this edge connect to every machine in them. For tests, and for image stores on a network of their own.
    remote_image_networks: str = ""
    # How many images a request may show to a model, the bytes of one and of all together, and the pixels of one.
    vision_max_images: int = 10
    vision_max_image_bytes: int = 10 * 1024 * 1024
    vision_max_total_bytes: int = 20 * 1024 * 1024
    vision_max_pixels: int = 20_000_000
    # How images are returned if a request does not say.
    image_response: Literal["url", "b64_json"] = "url"
    # The public URL of this API, with /v1, for the URLs of images; empty takes what the client used.
    image_base_url: str = ""
    # Where images wait to be fetched; empty keeps them in this process's memory, where other edges do not find them.
    image_directory: str = ""
    # Signs the URLs of images; empty takes a random key. Edges that share a directory need the same one.
    image_signing_key: str = ""
    # How long an image can be fetched.
    image_url_seconds: float = 3600.0
    # The most that images may take of this process's memory, in bytes.
    image_memory_bytes: int = 256 * 1024 * 1024
    # The size of images whose request does not say, and the most pixels of one.
    image_size: str = "512x512"
    image_most_pixels: int = 2048 * 2048
    # The most denoising steps of one image: a price must not buy endless work.
    image_most_steps: int = 100
    # Bytes that may wait for a slow reader before the client is cut off.
    max_unread_bytes: int = 1024 * 1024
    # The part of the requests that are traced, if tracing is on, unless the client has decided by its traceparent.
    tracing_ratio: Annotated[float, msgspec.Meta(ge=0, le=1)] = 1.0
