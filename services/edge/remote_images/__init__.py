"""Turns the image URLs of requests into bytes, without ever reaching what is not on the public internet."""

from services.edge.remote_images.fetcher import ImageFetcher
from services.edge.remote_images.limits import ImageLimits
from services.edge.remote_images.loader import ImageLoader, ImageSource
from services.edge.remote_images.policy import FetchPolicy

__all__ = ["FetchPolicy", "ImageFetcher", "ImageLimits", "ImageLoader", "ImageSource"]
