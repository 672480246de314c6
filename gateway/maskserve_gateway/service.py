"""What the routes share: the models, and what watches over the requests to all of them."""

from __future__ import annotations

import asyncio
import os
import sys
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from maskserve.decoding.decoders import OpenedLate
from maskserve.decoding.limits import Limits
from maskserve.errors import ImageTooLarge, ModelNotFound
from maskserve.inputs.image import InputImage, encode_bmp
from maskserve.transport.connect import open_transport
from maskserve.transport.endpoint import parse_url
from maskserve_gateway.balancing import BalancedTransport
from maskserve_gateway.catalog import Catalog
from maskserve_gateway.limits import ConcurrencyLimiter
from maskserve_gateway.memory import MemoryBudget, Trimmer
from maskserve_gateway.remote_images import AllowedHosts, ImageFetcher
from maskserve_gateway.request_metrics import Metrics
from maskserve_gateway.schema import ModelDocument, ModelsDocument, ServiceInfo
from maskserve_gateway.served_model import ServedModel, describe
from maskserve_gateway.settings import Settings, api_keys

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from maskserve.results import InstanceSegResult
    from maskserve.transport.base import Transport

_DECODERS = max(2, min(4, os.cpu_count() or 1))  # each draws upon one image at a time, and needs a processor for it
_CONNECT_SECONDS = 3.0
# Bodies that are read at once. It is Python's own work, which one thread does at a time: with more of them in the line,
# the event loop waits for all between two of its steps, and with it everybody who is to be refused.
_READERS = 2
_CANARY = encode_bmp(np.zeros((48, 64, 3), np.uint8))


class Service:
    """The models on one or several servers.

    Args:
        settings: how the gateway behaves.
        transport: the way to the servers; None opens one to each of the settings' URLs.
    """

    def __init__(self, settings: Settings, transport: Transport | None = None) -> None:
        self.settings = settings
        self.keys = api_keys(settings)
        self.metrics = Metrics()
        self.trimmer = Trimmer()
        self.memory = MemoryBudget(settings.max_memory_bytes, settings.wait_seconds, self.trimmer.request)
        self.turns = ConcurrencyLimiter(
            settings.max_concurrent, settings.max_waiting, settings.wait_seconds, settings.timeout
        )
        self.readers = asyncio.Semaphore(_READERS)
        self._transport = transport or open_servers(settings)
        self.catalog = Catalog(settings, self._transport, self._served)
        # Of an image that a server has decoded: what is drawn upon. It could end this process, too.
        self._decoder = OpenedLate(Limits(sys.maxsize, settings.max_pixels), _DECODERS)
        hosts = AllowedHosts(settings.image_hosts)
        self.images = ImageFetcher(hosts, max_bytes=settings.max_body_bytes * 3 // 4)

    async def segment(
        self, model: ServedModel, image: bytes, threshold: float | None, headers: Mapping[str, str]
    ) -> InstanceSegResult:
        """Return what a model finds in an image file.

        Raises:
            MaskserveError: it cannot be segmented.
        """
        # as one image: `check_content` has chosen the page
        input_image = InputImage(partial(bytes, image), decoder=self._decoder.decode)
        result = await model.segment(input_image, threshold, headers)
        height, width = result.instances.image_size
        if height * width > self.settings.max_pixels:
            raise ImageTooLarge(
                f"the image has {width}x{height} pixels, the limit is {self.settings.max_pixels} in all"
            )
        model.health.proved()
        return result

    async def models(self) -> ModelsDocument:
        """Return the models that are loaded, by name.

        Raises:
            ServerError: no server can say which.
        """
        found = await self.catalog.listed()
        default = await self.catalog.default_name()
        documents = [
            ModelDocument(name=name, default=name == default, labels=list(known.labels), threshold=known.threshold)
            for name, known in found
        ]
        return ModelsDocument(models=documents)

    async def info(self) -> ServiceInfo:
        """Return what a client may want to know beforehand, of the default model.

        Raises:
            Refusal: there are several models, and none is the default.
            ServerError: no server can say what it is like.
        """
        model = await self.catalog.default()
        known = model.description
        if known is None:
            known = await asyncio.to_thread(describe, model.name, self._transport)
        return ServiceInfo(
            model=model.name,
            labels=list(known.labels),
            threshold=known.threshold,
            maxBodyBytes=self.settings.max_body_bytes,
            maxPixels=self.settings.max_pixels,
            visualizeDefault=self.settings.visualize,
            apiKeyRequired=bool(self.keys),
        )

    @contextmanager
    def missing_is_unknown(self, name: str | None) -> Iterator[None]:
        """Tell who named a model that has gone meanwhile what they are told of one that was never there.

        Raises:
            Refusal: it has gone, and `name` is not None.
        """
        try:
            yield
        except ModelNotFound:
            if name is None:
                raise
            raise self.catalog.gone(name) from None

    async def close(self) -> None:
        """Close the connections."""
        await asyncio.to_thread(self._transport.close)
        await asyncio.to_thread(self._decoder.close)

    def _served(self, name: str) -> ServedModel:
        return ServedModel(name, self._transport, self.settings, self._send_canary)

    async def _send_canary(self, model: ServedModel) -> None:
        await self.segment(model, _CANARY, 0.0, {})  # at which something is found, so that masks are painted


def open_servers(settings: Settings) -> Transport:
    """Return the transport to all servers of the settings.

    Raises:
        InvalidParameter: a URL makes no sense.
    """
    endpoints = [
        replace(parse_url(url), timeout=settings.timeout, connect_timeout=_CONNECT_SECONDS, ca_file=settings.ca_file)
        for url in settings.urls
    ]
    return BalancedTransport([open_transport(endpoint) for endpoint in endpoints])
