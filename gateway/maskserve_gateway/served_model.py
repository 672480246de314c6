"""One of the models behind the gateway."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING

from maskserve.async_pipeline import AsyncPipeline
from maskserve.contract import PARAMETER_DRAW_THRESHOLD
from maskserve.errors import ModelNotFound, ModelNotReady, ServerOverloaded, ServerUnavailable
from maskserve.pipeline import Pipeline
from maskserve.served import labels_in
from maskserve_gateway.health import Health

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from maskserve.inputs.image import InputImage
    from maskserve.results import InstanceSegResult
    from maskserve.transport.base import Transport
    from maskserve_gateway.settings import Settings

_CANARY_SECONDS = 10.0
_PAUSE = 0.1


@dataclass(frozen=True, slots=True)
class Description:
    """What a server says of a model.

    Attributes:
        labels: the class names, by class index.
        threshold: the model's own; None where the server does not say.
    """

    labels: tuple[str, ...]
    threshold: float | None


def describe(name: str, transport: Transport) -> Description:
    """Ask the servers what a model is like.

    Raises:
        ModelNotFound: they have no such model, or it is not one of maskserve's.
        ServerError: they cannot say.
    """
    config = transport.model_config(name)
    labels = labels_in(config)
    if labels is None:
        raise ModelNotFound(f"{name} at {transport.url} is not a model of maskserve")
    return Description(labels, _draw_threshold(config))


class ServedModel:
    """A model, and whether it answers.

    Args:
        name: on the servers.
        transport: the way to them.
        settings: of the gateway.
        canary: segments a small image with this model.
    """

    def __init__(
        self,
        name: str,
        transport: Transport,
        settings: Settings,
        canary: Callable[[ServedModel], Awaitable[None]],
    ) -> None:
        self.name = name
        self.description: Description | None = None
        self._asynchronous = AsyncPipeline(Pipeline(name, transport, concurrency=1, retries=0))
        timeout = min(_CANARY_SECONDS, settings.timeout)
        self.health = Health(lambda: canary(self), seconds=settings.health_seconds, timeout=timeout)

    async def segment(
        self, image: InputImage, threshold: float | None, headers: Mapping[str, str]
    ) -> InstanceSegResult:
        """Return what is in an image. Where no server could be reached, it is asked for again after a moment.

        Raises:
            MaskserveError: it cannot be segmented.
        """
        try:
            return await self._asynchronous.segment(image, threshold=threshold, headers=headers)
        except (ServerUnavailable, ModelNotReady) as error:
            # A queue is as full after the pause, and a refusal that says when to come back is of use at once.
            if error.lost or isinstance(error, ServerOverloaded):
                raise
        await asyncio.sleep(_PAUSE)
        return await self._asynchronous.segment(image, threshold=threshold, headers=headers)


def _draw_threshold(config: Mapping[str, object]) -> float | None:
    try:
        return float(config["parameters"][PARAMETER_DRAW_THRESHOLD]["string_value"])  # type: ignore[index]
    except (KeyError, TypeError, ValueError):
        return None
