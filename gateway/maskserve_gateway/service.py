"""What the routes share: the model, and what watches over the requests to it."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from maskserve._connect import open_transport
from maskserve._endpoint import parse_url
from maskserve._pictures import Picture, encode_bmp
from maskserve.async_pipeline import AsyncPipeline
from maskserve.contract import PARAMETER_DRAW_THRESHOLD
from maskserve.errors import ImageTooLarge
from maskserve.pipeline import Pipeline
from maskserve_gateway.balancing import BalancedTransport
from maskserve_gateway.fetching import AllowedHosts, ImageFetcher
from maskserve_gateway.health import Health
from maskserve_gateway.limits import Turns
from maskserve_gateway.metrics import Metrics
from maskserve_gateway.schema import ServiceInfo
from maskserve_gateway.settings import Settings, api_keys

if TYPE_CHECKING:
    from collections.abc import Mapping

    from maskserve._transport import Transport
    from maskserve.results import InstanceSegResult

_CANARY_SECONDS = 10.0
_CONNECT_SECONDS = 3.0
_CANARY = encode_bmp(np.zeros((48, 64, 3), np.uint8))


class Service:
    """A model on one or several servers.

    Args:
        settings: how the gateway behaves.
        transport: the way to the servers; None opens one to each of the settings' URLs.
    """

    def __init__(self, settings: Settings, transport: Transport | None = None) -> None:
        self.settings = settings
        self.keys = api_keys(settings)
        self.metrics = Metrics()
        self.turns = Turns(settings.max_concurrent, settings.max_waiting, settings.wait_seconds)
        timeout = min(_CANARY_SECONDS, settings.timeout)
        self.health = Health(self._send_canary, seconds=settings.health_seconds, timeout=timeout)
        self._transport = transport or open_servers(settings)
        self._pipeline = Pipeline(settings.model, self._transport, concurrency=1, retries=1)
        self._asynchronous = AsyncPipeline(self._pipeline)
        hosts = AllowedHosts(settings.image_hosts)
        self.images = ImageFetcher(hosts, max_bytes=settings.max_body_bytes * 3 // 4)
        self._info: ServiceInfo | None = None

    async def segment(self, image: bytes, threshold: float | None, headers: Mapping[str, str]) -> InstanceSegResult:
        """What is in an image file.

        Raises:
            MaskserveError: it cannot be segmented.
        """
        # as one picture: a TIFF of several pages is its first one, as it is to PaddleX's service
        picture = Picture(partial(bytes, image))
        results = self._asynchronous.predict(picture, threshold=threshold, headers=headers)
        async with aclosing(results):  # type: ignore[type-var]
            result = await anext(results)
        height, width = result.instances.image_size
        if height * width > self.settings.max_pixels:
            raise ImageTooLarge(
                f"the image has {width}x{height} pixels, the limit is {self.settings.max_pixels} in all"
            )
        self.health.proved()
        return result

    async def info(self) -> ServiceInfo:
        """What a client may want to know beforehand.

        Raises:
            ServerError: no server can say what its model is like.
        """
        if self._info is None:
            self._info = await asyncio.to_thread(self._ask)
        return self._info

    async def close(self) -> None:
        """Close the connections."""
        await self._asynchronous.close()

    async def _send_canary(self) -> None:
        await self.segment(_CANARY, None, {})

    def _ask(self) -> ServiceInfo:
        model = self._pipeline.model
        labels = self._pipeline.labels
        return ServiceInfo(
            model=model,
            labels=list(labels),
            threshold=_draw_threshold(self._transport.model_config(model)),
            maxBodyBytes=self.settings.max_body_bytes,
            maxPixels=self.settings.max_pixels,
            visualizeDefault=self.settings.visualize,
            apiKeyRequired=bool(self.keys),
        )


def open_servers(settings: Settings) -> Transport:
    """The transport to all servers of the settings.

    Raises:
        InvalidParameter: a URL makes no sense.
    """
    endpoints = [
        replace(parse_url(url), timeout=settings.timeout, connect_timeout=_CONNECT_SECONDS, ca_file=settings.ca_file)
        for url in settings.urls
    ]
    return BalancedTransport([open_transport(endpoint) for endpoint in endpoints])


def _draw_threshold(config: Mapping[str, object]) -> float | None:
    try:
        return float(config["parameters"][PARAMETER_DRAW_THRESHOLD]["string_value"])  # type: ignore[index]
    except (KeyError, TypeError, ValueError):
        return None
