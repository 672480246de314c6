"""The server and the REST service of `maskserve up`: on the usual ports, or on free ones where these are taken."""

from __future__ import annotations

import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from maskserve.errors import ToolError
from maskserve_tools.embedded import ports

if TYPE_CHECKING:
    from maskserve_tools.embedded import Server
    from maskserve_tools.embedded.rest_service import GatewayProcess
    from maskserve_tools.up.repository import Prepared

USUAL = {"http": 8000, "grpc": 8001, "metrics": 8002, "rest": 8080}
_POLL = 0.1
_READY_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Wanted:
    """Where to listen.

    Attributes:
        host: the address.
        ports: those that were given, by what they are for: "http", "grpc", "metrics", "rest"; 0 for any free one.
    """

    host: str
    ports: dict[str, int] = field(default_factory=dict)

    def check(self) -> None:
        """Make sure that the ports which were given are free, before anything is converted.

        Raises:
            ToolError: one is not.
        """
        address = ports.resolve_host(self.host)
        for name, port in self.ports.items():
            if port:
                ports.check_port(address, port, flag=_flag(name))

    def choose(self, *, usual: bool) -> dict[str, int]:
        """Return the ports: those that were given, the usual ones that are free, and 0 for the others."""
        address = ports.resolve_host(self.host)
        free = {name: port if usual and _is_free(address, port) else 0 for name, port in USUAL.items()}
        return {**free, **self.ports}


@contextmanager
def running(
    prepared: Prepared, wanted: Wanted, *, default: str | None, verbose: bool, allow_hosts: list[str]
) -> Iterator[tuple[Server, GatewayProcess]]:
    """Run the server and the REST service while the body runs; both answer when it begins.

    Raises:
        ToolError: one of them cannot be started.
    """
    from maskserve_tools.embedded.rest_service import GatewayProcess, default_among

    with _serving(prepared, wanted, verbose=verbose) as server:
        model = default or default_among(server.models)
        for usual in (True, False):
            port = wanted.choose(usual=usual)["rest"]
            with GatewayProcess(
                server.name, server.grpc_url, model, host=wanted.host, port=port, allow_hosts=allow_hosts
            ) as gateway:
                if _answers(gateway):
                    yield server, gateway
                    return
            if "rest" in wanted.ports:
                break
        raise ToolError("the REST service did not start")


def _serving(prepared: Prepared, wanted: Wanted, *, verbose: bool) -> Server:
    from maskserve_tools.embedded import serve

    def start(chosen: dict[str, int]) -> Server:
        return serve(
            prepared.repository,
            http_port=chosen["http"],
            grpc_port=chosen["grpc"],
            metrics_port=chosen["metrics"],
            host=wanted.host,
            models=prepared.models,
            verbose=verbose,
        )

    chosen = wanted.choose(usual=True)
    try:
        return start(chosen)
    except ToolError:
        address = ports.resolve_host(wanted.host)
        own = [name for name in ("http", "grpc", "metrics") if name not in wanted.ports and chosen[name]]
        if all(_is_free(address, chosen[name]) for name in own):
            raise
    return start(wanted.choose(usual=False))  # another program took one meanwhile


def _answers(gateway: GatewayProcess) -> bool:
    """Wait until a model has answered through the REST service; False where this has ended by itself.

    Raises:
        ToolError: none has, in time.
    """
    deadline = time.monotonic() + _READY_SECONDS
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    while gateway.exit_code is None:
        if time.monotonic() > deadline:
            raise ToolError(f"no model answered through the REST service within {_READY_SECONDS:g} seconds")
        try:
            with opener.open(f"{gateway.url}/health", timeout=10):
                return gateway.exit_code is None  # else it was another program's
        except (OSError, urllib.error.URLError):
            time.sleep(_POLL)
    return False


def _is_free(address: str, port: int) -> bool:
    try:
        ports.check_port(address, port, flag="")
    except ToolError:
        return False
    return True


def _flag(name: str) -> str:
    return "--port" if name == "rest" else f"--{name}-port"
