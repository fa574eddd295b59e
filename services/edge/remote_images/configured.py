"""Builds the loader that the edge's settings ask for."""

from __future__ import annotations

from services.common.settings import SettingsError, split_list
from services.edge.remote_images.address_book import system_resolver
from services.edge.remote_images.addresses import read_networks
from services.edge.remote_images.fetcher import ImageFetcher
from services.edge.remote_images.limits import ImageLimits
from services.edge.remote_images.loader import ImageLoader
from services.edge.remote_images.policy import FetchPolicy, read_hosts
from services.edge.remote_images.turns import FairTurns
from services.edge.settings import EdgeSettings


def image_loader(settings: EdgeSettings) -> ImageLoader:
    """Returns the loader; raises SettingsError, naming the setting that is wrong."""
    limits = ImageLimits(
        images=settings.vision_max_images,
        bytes_each=settings.vision_max_image_bytes,
        bytes_together=settings.vision_max_total_bytes,
        pixels=settings.vision_max_pixels,
    )
    fetcher = ImageFetcher(_policy(settings), system_resolver())
    # Whoever waits is next when a fetch ends, however it ends.
    turns = FairTurns(settings.remote_image_fetches, wait_seconds=2 * settings.remote_image_seconds)
    return ImageLoader(fetcher, limits, turns)


def _policy(settings: EdgeSettings) -> FetchPolicy:
    enabled, hosts = read_hosts(settings.remote_images)
    try:
        networks = read_networks(split_list(settings.remote_image_networks))
    except ValueError as error:
        raise SettingsError(f"TIERMESH_EDGE_REMOTE_IMAGE_NETWORKS: {error}") from None
    ports = split_list(settings.remote_image_ports)
    if not ports or not all(port.isascii() and port.isdigit() and len(port) <= 5 for port in ports):
        raise SettingsError("TIERMESH_EDGE_REMOTE_IMAGE_PORTS must be a comma-separated list of port numbers")
    return FetchPolicy(
        enabled=enabled,
        hosts=hosts,
        ports=frozenset(map(int, ports)),
        http=settings.remote_image_http,
        networks=networks,
        seconds=settings.remote_image_seconds,
    )
