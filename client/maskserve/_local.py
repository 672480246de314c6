"""The server of a pipeline that was not told of one: what answers on this machine, or one started for it."""

from __future__ import annotations

import weakref
from typing import TYPE_CHECKING, Any, Protocol

from maskserve._model import PIPELINE, PIPELINE_MODEL, Model
from maskserve.errors import ServerError, ServerUnavailable, ToolError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from maskserve._config import Settings
    from maskserve._transport import ServedModel, Transport
    from maskserve._wire import ImageRequest, Tensor

DEFAULT_URL = "grpc://localhost:8001"
ENTRY_POINTS = "maskserve.local"
_LOOK = 5.0


class LocalServer(Protocol):
    """A server that was started for one pipeline."""

    @property
    def url(self) -> str:
        """Where it is."""

    @property
    def model(self) -> str:
        """The name that it has for the model."""

    def stop(self) -> None:
        """Stop it, unless this is another process than the one that started it. A second call does nothing."""


class Starter(Protocol):
    """What an entry point in the group "maskserve.local" is: it starts servers."""

    def __call__(self, model: str, *, device: str | None) -> LocalServer:
        """Start a server with the model of a Paddle inference folder, or the official one of a name.

        Raises:
            ToolError: it cannot be started.
            InvalidParameter: the model cannot be run on `device`.
        """


class LocalTransport:
    """The way to a server that was started for it, and that is stopped when the way is closed, or not used any more.

    Args:
        transport: the way.
        server: the server.
    """

    def __init__(self, transport: Transport, server: LocalServer) -> None:
        self._transport = transport
        self._stop = weakref.finalize(self, server.stop)

    @property
    def url(self) -> str:
        """Where the server is."""
        return self._transport.url

    def infer(self, model: str, request: ImageRequest) -> Sequence[Tensor]:
        """The output tensors for one image."""
        return self._open().infer(model, request)

    def model_config(self, model: str) -> Mapping[str, Any]:
        """The model's configuration."""
        return self._open().model_config(model)

    def models(self) -> Sequence[ServedModel]:
        """The server's repository index."""
        return self._open().models()

    def close(self) -> None:
        """Close the connections and stop the server."""
        self._transport.close()
        self._stop()

    def _open(self) -> Transport:
        if not self._stop.alive:
            raise ServerUnavailable(
                "the pipeline was closed, and with it the server that had been started for it: make another pipeline"
            )
        return self._transport


def find_server(settings: Settings, device: str | None, connect: Callable[..., Transport]) -> tuple[str, Transport]:
    """The server for a pipeline that was told of none, and the name that it has for the model.

    A name is looked for at the usual address first. A folder means just that folder, and what a server has under the
    folder's name may be another model.

    Args:
        settings: the pipeline.
        device: what PaddleX would run the model on.
        connect: makes the transport to a URL; a second argument limits the seconds that a request may take.

    Raises:
        ServerUnavailable: there is none, and none can be started.
        InvalidParameter: the model cannot be run on `device`.
    """
    if settings.folder is None and _serves(connect(DEFAULT_URL, _LOOK), settings.model):
        return settings.model, connect(DEFAULT_URL)
    elsewhere = "" if settings.folder else f"no server at {DEFAULT_URL} has {settings.model}, and "
    mend = "name a server with url= or MASKSERVE_URL"
    start = find_starter()
    if start is None:
        raise ServerUnavailable(
            f"{elsewhere}starting one here needs more of maskserve: {mend},"
            ' or pip install "maskserve[embedded,convert]"'
        )
    try:
        model = PIPELINE_MODEL if settings.model == PIPELINE else settings.model
        server = start(settings.folder or model, device=device)
    except ToolError as error:
        raise ServerUnavailable(f"{elsewhere}none can be started here: {error.message}. Or {mend}") from error
    return server.model, LocalTransport(connect(server.url), server)


def find_starter() -> Starter | None:
    """What starts servers here, if it is installed."""
    from importlib.metadata import entry_points

    for entry_point in entry_points(group=ENTRY_POINTS):
        starter: Starter = entry_point.load()
        return starter
    return None


def _serves(transport: Transport, model: str) -> bool:
    try:
        return Model(model, transport).labels is not None
    except ServerError:
        return False
    finally:
        transport.close()
