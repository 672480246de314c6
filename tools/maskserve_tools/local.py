"""Servers for pipelines that were told of none: the entry point `maskserve.local`."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from maskserve.errors import InvalidParameter

if TYPE_CHECKING:
    from maskserve_tools.serving import Server

_log = logging.getLogger("maskserve")


@dataclass(frozen=True, slots=True)
class LocalServer:
    """An embedded server with one model.

    Attributes:
        server: it.
        model: the model's name.
    """

    server: Server
    model: str

    @property
    def url(self) -> str:
        """Where it is."""
        return self.server.grpc_url

    def stop(self) -> None:
        """Stop it, unless this is a forked child of the process that started it. A second call does nothing."""
        self.server.stop()


def start(model: str, *, device: str | None = None) -> LocalServer:
    """Convert a model, unless that has been done, and serve it on free ports of the loopback interface.

    Args:
        model: a Paddle inference folder, or the name of an official model, which is fetched.
        device: what to run it on, in PaddleX's grammar; None is the CPU.

    Raises:
        InvalidParameter: there is no engine for `device`.
        ToolError: the model cannot be fetched, converted or served.
    """
    from maskserve_tools.converting.paddle_folder import PaddleFolder
    from maskserve_tools.serving import serve
    from maskserve_tools.serving.triton_wheel import find_triton_wheel
    from maskserve_tools.zoo.converted import converted
    from maskserve_tools.zoo.fetching import by_tenths, fetch

    engine = engine_for(device)
    find_triton_wheel()  # before minutes are spent on downloading and converting
    is_folder = Path(model).is_dir()
    path = Path(model) if is_folder else fetch(model, progress=by_tenths(_log.warning), report=_log.warning)
    folder = PaddleFolder.open(path)
    repository = converted(folder, engine=engine, report=_log.warning)
    _log.warning("starting an embedded tritonserver with %s (url= or MASKSERVE_URL names one that runs)", model)
    server = serve(repository)
    return LocalServer(server, *server.models)


def engine_for(device: str | None) -> str:
    """The engine that runs models on `device`.

    Raises:
        InvalidParameter: there is none. Nothing is ever run on the CPU instead of what was asked for.
    """
    if device is None or device.lower() == "cpu":
        return "auto"
    raise InvalidParameter(
        f"device={device!r}: the server that maskserve starts on this machine runs models on the CPU only."
        " Take device='cpu', or name a server with another device with url= or MASKSERVE_URL"
    )
