"""`serve()` and the server that it returns."""

from __future__ import annotations

import atexit
import os
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import TextIO

from maskserve import temporary
from maskserve.errors import ToolError
from maskserve_convert.triton.sizing import Wanted
from maskserve_tools.embedded import ports, shared_memory
from maskserve_tools.embedded.control import ControlSocket, Place
from maskserve_tools.embedded.launch import GRACE, Launch
from maskserve_tools.embedded.process_environment import ascii_folder, check_numpy
from maskserve_tools.embedded.reloading import Reloaded, reload
from maskserve_tools.embedded.served_entries import client_facing
from maskserve_tools.embedded.serving import Serving
from maskserve_tools.embedded.start import Start
from maskserve_tools.embedded.supervisor import Supervisor
from maskserve_tools.embedded.survey import BrokenEntry, Survey
from maskserve_tools.embedded.triton_flags import check_options
from maskserve_tools.embedded.triton_wheel import find_triton_wheel


class Server:
    """A running embedded server; a context manager that stops it at the end.

    It is also stopped when the interpreter exits, and tritonserver stops by itself when this process is killed. What
    dies or freezes, tritonserver or the processes of a model, is started again, on the same ports.

    Attributes:
        grpc_url: for example `grpc://127.0.0.1:8001`.
        http_url: for example `http://127.0.0.1:8000`.
        metrics_url: where Prometheus finds the metrics.
    """

    def __init__(self, start: Start, launch: Launch, found: Survey, *, restart: bool = True) -> None:
        host = ports.in_url(ports.reachable(launch.address))
        self.grpc_url = f"grpc://{host}:{launch.ports.grpc}"
        self.http_url = f"http://{host}:{launch.ports.http}"
        self.metrics_url = f"http://{host}:{launch.ports.metrics}/metrics"
        self._start = start
        self._serving = Serving(launch, found, start.ready_timeout)
        self._owner = os.getpid()
        self._stopping = threading.Lock()
        self._stopped = False
        self._control = ControlSocket.open(
            launch.regions, self.reload, Place(str(start.repository.resolve()), self.http_url)
        )
        self._supervisor = Supervisor(self._serving) if restart else None
        if self._supervisor is not None:
            self._supervisor.start()
        atexit.register(self.stop)

    @property
    def models(self) -> tuple[str, ...]:
        """The names that clients may call."""
        return client_facing(self._serving.survey.entries)

    @property
    def broken(self) -> tuple[BrokenEntry, ...]:
        """The entries that are not served, and why."""
        return tuple(self._serving.survey.broken)

    def reload(self) -> Reloaded:
        """Serve the repository as it is now: what is new or has changed is tried out in a server of its own first.

        What fails there changes nothing: an entry that was served goes on as it was. The others are exchanged model by
        model; requests that meet a model in these seconds get `ModelNotReady` or `ModelNotFound`, never an answer of
        parts that do not fit.

        Raises:
            ToolError: the repository is gone, or there is no room for the trial.
        """
        serving = self._serving
        with serving.changing:
            if self._stopped:
                raise ToolError("the server has been stopped")
            serving.survey, told = reload(serving.launch, serving.survey, self._start)
            return told

    @property
    def name(self) -> str:
        """What tritonserver calls itself; its processes have it in the variable `MASKSERVE_SERVER`."""
        return self._serving.launch.regions.prefix

    @property
    def pid(self) -> int:
        """The process id of tritonserver; another one after it was started again."""
        return self._serving.launch.process.pid

    @property
    def exit_code(self) -> int | None:
        """How tritonserver ended, or None while it runs, or is being started again."""
        if self._supervisor is not None and not self._stopped and not self._supervisor.given_up.is_set():
            return None
        return self._serving.launch.process.exit_code

    def wait(self, timeout: float | None = None) -> int | None:
        """Wait until tritonserver has ended by itself and is not started again, or `timeout` seconds.

        Returns:
            Its exit code, or None when it still runs.
        """
        if self._supervisor is not None and not self._supervisor.given_up.wait(timeout):
            return None
        return self._serving.launch.process.wait(timeout)

    def log_tail(self) -> str:
        """Return the errors in Triton's log, or its last lines where there are none."""
        return self._serving.launch.log.explain()

    def stop(self) -> None:
        """Stop the server and clean up after it. A second call does nothing.

        Requests that are being computed have ten seconds to finish.
        """
        with self._stopping:
            if self._stopped or os.getpid() != self._owner:  # a forked child inherits the object, not the server
                return
            self._stopped = True
            atexit.unregister(self.stop)
            if self._supervisor is not None:
                self._supervisor.stop()
            self._control.close()
            self._serving.launch.stop(grace=GRACE)
            if self._supervisor is not None:
                self._supervisor.join()

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
    models: str | Sequence[str] | None = None,
    ready_timeout: float = 120.0,
    log: Path | TextIO | None = None,
    verbose: bool = False,
    strict: bool = False,
    restart: bool = True,
    options: Sequence[str] = (),
    instances: int | None = None,
    threads: int | None = None,
) -> Server:
    """Start the tritonserver of the installed `nvidia-pytriton` wheel and wait until every model has answered.

    That tritonserver is an old release with published vulnerabilities: for development and trusted networks only.

    A broken entry does not take the others down: they are served, and `Server.broken` says which are not, and why.

    Args:
        repository: the model repository, as `maskserve convert` makes it.
        http_port: where to listen; None or 0 chooses a free port.
        grpc_port: likewise.
        metrics_port: likewise.
        host: the address to listen on. Anything but a loopback address is at your own risk.
        models: serve only this one, or these, and the steps they call.
        ready_timeout: how many seconds the models have to load and to segment a test image.
        log: a path that gets all of Triton's log, or a stream that gets its warnings and errors; None is stderr.
        verbose: whether a stream gets all of it.
        strict: raise where an entry is broken, instead of serving the others.
        restart: whether to start again what dies or freezes: tritonserver, or the processes of a model.
        options: further flags for tritonserver, such as `--log-verbose=1`.
        instances: how many images each model computes at the same time; None for what its entries say, or else what
            fits the cores.
        threads: how many threads compute each image; None likewise.

    Raises:
        ToolError: the extra `embedded` is not installed, the environment does not fit, there is no such repository or
            model, no entry can be served (or, with `strict`, not all can), a port is in use, /dev/shm is too small, or
            an option would break the control over the server.
    """
    if not ready_timeout > 0:
        raise ToolError(f"--ready-timeout must be more than 0 seconds, not {ready_timeout:g}")
    for option, value in (("instances", instances), ("threads", threads)):
        if value is not None and value < 1:
            raise ToolError(f"--{option} must be a whole number from 1 on, not {value}")
    check_options(options)
    wheel = find_triton_wheel()
    check_numpy()
    shared_memory.remove_stale()
    temporary.remove_stale()
    temporary.remove_stale(ascii_folder())
    start = Start(
        wheel=wheel,
        repository=Path(repository),
        models=[models] if isinstance(models, str) else models,
        address=ports.resolve_host(host),
        http=http_port,
        grpc=grpc_port,
        metrics=metrics_port,
        ready_timeout=ready_timeout,
        log=sys.stderr if log is None else log,
        verbose=verbose,
        options=options,
        asked=Wanted(instances, threads),
    )
    found = start.survey()
    _check_some(found, strict=strict)
    while True:
        started, failures = start.launch(found.entries)
        if not failures:
            return Server(start, started, found, restart=restart)
        # What failed to load spoils Triton's readiness for good, so the others get a server without it.
        explanation = started.log.explain() if started.log.errors() else ""
        started.stop(grace=0)
        found = found.without(failures)
        _check_some(found, strict=strict, explanation=explanation)


def _check_some(found: Survey, *, strict: bool, explanation: str = "") -> None:
    """Make sure that there is something to serve; with `strict`, that there is nothing that cannot be served."""
    if found.entries and not (strict and found.broken):
        return
    raise ToolError("; ".join(map(str, found.broken)) + explanation)
