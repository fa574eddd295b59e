"""The settings of the edge: `TIERMESH_EDGE_<FIELD>`."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

from services.common.settings import ServiceSettings


class EdgeSettings(ServiceSettings, frozen=True, kw_only=True):
    """The settings of one edge process."""

    # Where the edge serves the HTTP API, host:port.
    listen: str = "127.0.0.1:8000"
    # Comma-separated addresses of auth's replicas, host:port each. `dns:host:port` stands for every address of the
    # name, looked up again every few seconds.
    auth_addresses: str = "127.0.0.1:7101"
    # Addresses of billing's replicas, in the same form.
    billing_addresses: str = "127.0.0.1:7102"
    # Addresses of the routers, in the same form.
    router_addresses: str = "127.0.0.1:7103"
    # Addresses of the service payments, in the same form, which lets wallets pay for single requests (x402). If it is
    # empty, only accounts pay.
    payments_addresses: str = ""
    # How many requests in a minute one client address may send without a key and without a valid payment.
    unpaid_per_minute: Annotated[int, msgspec.Meta(ge=1)] = 60
    # How many trusted proxies before the edge add an address to X-Forwarded-For. With 0, the client is the peer of the
    # connection. Only the limit of unpaid requests uses it.
    trusted_proxies: Annotated[int, msgspec.Meta(ge=0)] = 0
    # The largest request body, after decompression. The default is enough for all images of a request as data: URLs.
    # Unit: bytes.
    max_body_bytes: int = 28 * 1024 * 1024
    # The most that a request body may have beside the images in it. Unit: bytes.
    max_text_bytes: int = 4 * 1024 * 1024
    # The most that the bodies of all requests in progress may take of this process's memory. Further requests get
    # status 503. The process can use one and a half times as much for them. Unit: bytes.
    body_memory_bytes: int = 256 * 1024 * 1024
    # The same for the requests of one account. It must be at least as much as the largest body. Unit: bytes.
    account_body_memory_bytes: int = 64 * 1024 * 1024
    # The largest recording for transcription. Unit: bytes.
    max_audio_bytes: int = 25 * 1024 * 1024
    # The most choices (`n`) of one request. They share one price.
    max_choices: int = 8
    # How long a client may take to send the head of a request, from its first byte. Unit: seconds.
    head_seconds: float = 15.0
    # How long a client may take to send the body. Unit: seconds.
    body_seconds: float = 120.0
    # How long a client may read nothing while data waits for it, before it is disconnected. Unit: seconds.
    unread_seconds: float = 60.0
    # Comma-separated origins whose web pages may use the API. `*` allows all origins, and an empty value allows none.
    cors_origins: str = "*"
    # How long auth and billing may take to reply, and how long the router may be silent, before the client gets status
    # 503. Unit: seconds.
    call_timeout: float = 5.0
    # How long a request may wait for a free slot. Unit: seconds.
    queue_timeout: float = 30.0
    # How long a whole answer may take. Unit: seconds.
    request_timeout: float = 600.0
    # How long a finished answer waits for its charge to be durable before the client gets an error instead. Unit:
    # seconds.
    settle_timeout: float = 30.0
    # How long the edge retries a settlement that no client waits for. Unit: seconds.
    release_timeout: float = 300.0
    # How long a stream of events may be silent before a comment keeps its connection open. Unit: seconds.
    keep_alive_seconds: float = 15.0
    # Which https: URLs of images are fetched: `off`, `any`, or comma-separated host names, where .example.com stands
    # for all names below it. Only public addresses are reached. See docs/vision.md.
    remote_images: str = "any"
    # Comma-separated ports that such URLs may have.
    remote_image_ports: str = "443"
    # Whether http: URLs are allowed on port 80. Anyone on the network path can read and change such images.
    remote_image_http: bool = False
    # How long fetching one image may take, including redirects. Unit: seconds.
    remote_image_seconds: float = 10.0
    # How many images this edge fetches at the same time; one account has at most a quarter of them. Others wait.
    remote_image_fetches: int = 32
    # Comma-separated networks that may be reached although they are not public. Dangerous: anyone with an API key can
    # make this edge connect to every machine in them. For tests, and for image stores on their own network.
    remote_image_networks: str = ""
    # How many images one request may contain.
    vision_max_images: int = 64
    # The largest image. Unit: bytes.
    vision_max_image_bytes: int = 10 * 1024 * 1024
    # The most that all images of one request may take together. Unit: bytes.
    vision_max_total_bytes: int = 20 * 1024 * 1024
    # The most pixels of one image. Unit: pixels.
    vision_max_pixels: int = 20_000_000
    # The form in which generated images are returned if a request does not choose one.
    image_response: Literal["url", "b64_json"] = "url"
    # The public URL of this API, with /v1, for the URLs of images. If it is empty, image URLs start with the URL that
    # the client used.
    image_base_url: str = ""
    # The directory in which images wait to be fetched. If it is empty, they stay in this process's memory, where other
    # edges do not find them.
    image_directory: str = ""
    # Signs the URLs of images. If it is empty, the edge uses a random key. Edges that share a directory need the same
    # key.
    image_signing_key: str = ""
    # How long an image can be fetched. Unit: seconds.
    image_url_seconds: float = 3600.0
    # The most that images may take of this process's memory. Unit: bytes.
    image_memory_bytes: int = 256 * 1024 * 1024
    # The size of an image if a request does not choose one.
    image_size: str = "512x512"
    # The most pixels of one generated image. Unit: pixels.
    image_most_pixels: int = 2048 * 2048
    # The most denoising steps of one image, because a price must not buy unlimited work.
    image_most_steps: int = 100
    # Signs the reasoning in answers of POST /v1/messages, so that a model is shown no other reasoning later. If it is
    # empty, the edge uses a random key. All edges of a mesh need the same key: reasoning that another key has signed is
    # left out of the conversation.
    reasoning_signing_key: str = ""
    # The keys that sign receipts: a JSON Web Key Set, as `tiermesh receipt new-key` makes it. The first key with a
    # private part signs. All of them are published at /.well-known/jwks.json, without the private parts. If it is
    # empty, answers carry no receipts. All edges of a mesh need the same keys. See docs/receipts.md.
    receipt_keys: str = ""
    # How much data may wait for a slow reader before the client is disconnected. Unit: bytes.
    max_unread_bytes: int = 1024 * 1024
    # The part of the requests that is traced, if tracing is on. A client's traceparent overrides it.
    tracing_ratio: Annotated[float, msgspec.Meta(ge=0, le=1)] = 1.0
