"""`serve()` and the server that it returns."""

from __future__ import annotations

import atexit
import contextlib
import math
import os
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import TextIO

from maskserve.errors import ToolError
from maskserve_tools.serving import ports, shared_memory, shared_memory_need
from maskserve_tools.serving.backends import check_backends
from maskserve_tools.serving.canary import HttpEndpoint
from maskserve_tools.serving.environment import check_numpy, server_environment
from maskserve_tools.serving.log import TritonLog
from maskserve_tools.serving.ports import Ports, PortTaken
from maskserve_tools.serving.process import TritonProcess
from maskserve_tools.serving.readiness import StartingServer
from maskserve_tools.serving.repository import Entry, client_facing, link_entries, read_repository
from maskserve_tools.serving.shared_memory import RegionNamespace
from maskserve_tools.serving.triton_wheel import TritonWheel, find_triton_wheel, link_backend_directory

_ATTEMPTS = 3
_GRACE = 10.0


class Server:
    """A running embedded server; a context manager that stops it at the end.

    It is also stopped when the interpreter exits, and tritonserver stops by itself when this process is killed.

    Attributes:
        grpc_url: for example `grpc://127.0.0.1:8001`.
        http_url: for example `http://127.0.0.1:8000`.
        metrics_url: where Prometheus finds the metrics.
        models: the names that clients may call.
    """

    def __init__(self, launch: _Launch) -> None:
        host = ports.reachable(launch.address)
        self.grpc_url = f"grpc://{host}:{launch.ports.grpc}"
        self.http_url = f"http://{host}:{launch.ports.http}"
        self.metrics_url = f"http://{host}:{launch.ports.metrics}/metrics"
        self.models = client_facing(launch.entries)
        self._launch = launch
        self._owner = os.getpid()
        self._stopping = threading.Lock()
        self._stopped = False
        atexit.register(self.stop)

    @property
    def pid(self) -> int:
        """The process id of tritonserver."""
        return self._launch.process.pid

    @property
    def exit_code(self) -> int | None:
        """How tritonserver ended, or None while it runs."""
        return self._launch.process.exit_code

    def wait(self, timeout: float | None = None) -> int | None:
        """Wait until tritonserver ends by itself, or `timeout` seconds.

        Returns:
            Its exit code, or None when it still runs.
        """
        return self._launch.process.wait(timeout)

    def log_tail(self) -> str:
        """The errors in Triton's log, or its last lines where there are none."""
        return self._launch.log.explain()

    def stop(self) -> None:
        """Stop the server and clean up after it. A second call does nothing.

        Requests that are being computed have ten seconds to finish.
        """
        with self._stopping:
            if self._stopped or os.getpid() != self._owner:  # a forked child inherits the object, not the server
                return
            self._stopped = True
            atexit.unregister(self.stop)
            self._launch.stop(grace=_GRACE)

    def __enter__(self) -> Server:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()


def serve(
    repository: str | Path,
    *,
    http_port: int | None = None,
    grpc_port: int | None = None,
    metrics_port: int | None = None,
    host: str = "127.0.0.1",
    models: Sequence[str] | None = None,
    ready_timeout: float = 120.0,
    log: Path | TextIO | None = None,
    verbose: bool = False,
) -> Server:
    """Start the tritonserver of the installed `nvidia-pytriton` wheel and wait until every model has answered.

    That tritonserver is an old release with published vulnerabilities: for development and trusted networks only.

    Args:
        repository: the model repository, as `maskserve convert` makes it.
        http_port: where to listen; None or 0 chooses a free port.
        grpc_port: likewise.
        metrics_port: likewise.
        host: the address to listen on. Anything but a loopback address is at your own risk.
        models: serve only these, and the steps they call.
        ready_timeout: how many seconds the models have to load and to segment a test picture.
        log: a path that gets all of Triton's log, or a stream that gets its warnings and errors; None is stderr.
        verbose: whether a stream gets all of it.

    Raises:
        ToolError: the extra `embedded` is not installed, the environment does not fit, the repository or a model in it
            is broken, a port is in use, /dev/shm is too small, or the models were not ready in time.
    """
    if not ready_timeout > 0:
        raise ToolError(f"--ready-timeout must be more than 0 seconds, not {ready_timeout:g}")
    wheel = find_triton_wheel()
    check_numpy()
    entries = read_repository(Path(repository), models)
    check_backends(entries)
    address = ports.resolve_host(host)
    shared_memory.remove_stale()
    shared_memory_need.check_room(entries, shared_memory_need.free_bytes())
    for attempt in range(_ATTEMPTS):
        chosen = ports.choose_ports(address, http=http_port, grpc=grpc_port, metrics=metrics_port)
        output = TritonLog(sys.stderr if log is None else log, verbose=verbose)
        launch = _launch(wheel, entries, chosen, address=address, log=output, ready_timeout=ready_timeout)
        try:
            launch.wait_until_ready(ready_timeout)
        except PortTaken:
            launch.stop(grace=0)
            if attempt == _ATTEMPTS - 1 or (http_port and grpc_port and metrics_port):
                raise
        except BaseException:
            launch.stop(grace=0)
            raise
        else:
            return Server(launch)
    raise AssertionError("the last attempt returns or raises")


@dataclass(frozen=True, slots=True)
class _Launch:
    """Everything that one start of tritonserver made, and that its end must clean up."""

    entries: Sequence[Entry]
    address: str
    ports: Ports
    process: TritonProcess
    log: TritonLog
    identity: str
    resources: contextlib.ExitStack

    def wait_until_ready(self, timeout: float) -> None:
        endpoint = HttpEndpoint(ports.reachable(self.address), self.ports.http)
        deadline = time.monotonic() + timeout
        starting = StartingServer(self.process, self.log, endpoint, self.identity, timeout, deadline)
        starting.wait_until_ready(self.entries)

    def stop(self, *, grace: float) -> None:
        try:
            self.process.stop(grace=grace)
        finally:
            self.resources.close()


def _launch(
    wheel: TritonWheel,
    entries: Sequence[Entry],
    chosen: Ports,
    *,
    address: str,
    log: TritonLog,
    ready_timeout: float,
) -> _Launch:
    with contextlib.ExitStack() as resources:
        resources.callback(log.close)
        folder = Path(resources.enter_context(tempfile.TemporaryDirectory(prefix="maskserve-")))
        regions = RegionNamespace.claim()
        resources.callback(regions.release)
        command = [
            str(wheel.binary),
            f"--backend-directory={link_backend_directory(wheel, folder / 'backends')}",
            f"--model-repository={link_entries(entries, folder / 'models')}",
            f"--id={regions.prefix}",
            f"--backend-config=python,shm-region-prefix-name={regions.prefix}",
            # Triton gives a model 30 seconds to initialise; how long it may take is for the caller to say.
            f"--backend-config=python,stub-timeout-seconds={math.ceil(ready_timeout)}",
            *_endpoint_options(address, chosen),
            "--disable-auto-complete-config",
            f"--exit-timeout-secs={_GRACE:.0f}",
            "--pinned-memory-pool-byte-size=0",
            "--allow-gpu-metrics=false",
        ]
        process = TritonProcess(command, server_environment(wheel), log, inherited=[regions.descriptor])
        return _Launch(entries, address, chosen, process, log, regions.prefix, resources.pop_all())


def _endpoint_options(address: str, chosen: Ports) -> list[str]:
    addresses = [f"--{service}-address={address}" for service in ("http", "grpc", "metrics")]
    numbers = [f"--http-port={chosen.http}", f"--grpc-port={chosen.grpc}", f"--metrics-port={chosen.metrics}"]
    return [*addresses, *numbers]
