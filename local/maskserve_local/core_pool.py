"""Cores for several requests at once: one loaded network, and for each request under way memory of its own."""

from __future__ import annotations

import ctypes
import logging
import os
import threading
import time
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from maskserve.errors import RequestTimeout, ToolError
from maskserve.transport.fork import fork_gate
from maskserve_local.sources import Source
from maskserve_server.engine_table import engine_called
from maskserve_server.stages import Core

_CROWD = 8  # requests that met another one, after which it is worth while to load the network for several at once
_log = logging.getLogger("maskserve")

_loaded_for_several: dict[str, int] = {}  # engine: the process that has loaded a network of it for several at once


@dataclass(slots=True, eq=False)
class _Cores:
    """A loaded network.

    Attributes:
        first: a core on it, which makes the others.
        most: how many requests may hold one of its cores at the same time.
        idle: those that nobody holds.
    """

    first: Core
    most: int
    idle: list[Core] = field(default_factory=list)

    def take(self) -> Core:
        return self.idle.pop() if self.idle else self.first.twin()


class CorePool:
    """Lend cores to requests. Threads may share it.

    A request keeps its core while it paints, because the core's outputs are the engine's own memory. So there is one
    core more than requests can compute at once: the next image is computed while the last one is painted.

    A request that is alone gets all threads. Where requests meet again and again, the network is loaded once more, in
    the background, for several at once with a part of the threads each: that answers more images a second, each of them
    later. The answers are the same.

    Args:
        source: the model.
        threads: how many CPU threads there are.
        streams: how many requests to compute at once where there are several; 1 for one after the other.

    Raises:
        ToolError: the core cannot be loaded, or this process was forked too late.
    """

    def __init__(self, source: Source, *, threads: int, streams: int = 1) -> None:
        self._source, self._threads, self._streams = source, threads, streams
        self._several: _Cores | None = None
        self._filling = threading.Lock()
        self._fill()
        _pools.add(self)

    def keep_for_ever(self) -> None:
        """Let what the parent loaded never be freed in this process, a child of it."""
        self._filling = threading.Lock()  # the parent's may be held, by a thread that is not here
        for cores in (self._alone, self._several):
            ctypes.pythonapi.Py_IncRef(ctypes.py_object(cores))

    @contextmanager
    def lend(self, deadline: float) -> Iterator[Core]:
        """Lend a core.

        Args:
            deadline: until when to wait for one, on the clock of `time.monotonic`.

        Raises:
            RequestTimeout: the others kept theirs for too long.
        """
        if os.getpid() != self._owner:  # after a fork the engine's threads are gone
            with self._filling:
                if os.getpid() != self._owner:
                    self._fill()
        cores, core = self._take(deadline)
        try:
            yield core
        finally:
            with self._changed:
                cores.idle.append(core)
                self._lent -= 1
                self._changed.notify()

    def _take(self, deadline: float) -> tuple[_Cores, Core]:
        with self._changed:
            self._meet()
            self._waiting += 1
            try:
                while self._lent >= (cores := self._fitting()).most:
                    if not self._changed.wait(max(0.0, deadline - time.monotonic())) and time.monotonic() >= deadline:
                        raise RequestTimeout(
                            "the images before this one took all the time; raise timeout=, or lower concurrency="
                        )
            finally:
                self._waiting -= 1
            core = cores.take()
            self._lent += 1
            return cores, core

    def _fitting(self) -> _Cores:
        """Return the network for a request, which counts among those that wait."""
        alone = self._lent + self._waiting <= 1
        return self._alone if alone or self._several is None else self._several

    def _meet(self) -> None:
        """Count requests that meet others; after some of them load the network for several."""
        if self._lent + self._waiting == 0 or self._streams < 2:
            return
        self._met += 1
        if self._met == _CROWD:
            # no daemon: an interpreter that ends waits, as engines do not bear to be loaded meanwhile
            threading.Thread(target=self._load_for_several, name="maskserve-streams").start()

    def _load_for_several(self) -> None:
        threads = max(1, self._threads // self._streams)
        try:
            with fork_gate.request():
                _loaded_for_several.setdefault(self._source.spec.core.engine, os.getpid())
                first = Core.on(self._source.spec, self._source.load(threads, self._streams))
            several = _Cores(first, self._streams + 1, [first])
        except Exception as error:  # too little memory, for example: what there is goes on
            _log.warning("the model could not be loaded for several images at once, it goes on one by one: %s", error)
            return
        with self._changed:
            self._several = several
            self._changed.notify_all()

    def _fill(self) -> None:
        _check_fork(self._source.spec.core.engine)
        first = Core.on(self._source.spec, self._source.load(self._threads))
        self._changed = threading.Condition()
        self._lent = self._waiting = self._met = 0
        self._alone = _Cores(first, 2, [first])
        self._several = None
        self._owner = os.getpid()  # the last thing: who cannot load must not take what the parent loaded


def _check_fork(engine: str) -> None:
    """Refuse what would never be answered.

    Raises:
        ToolError: this process was forked after its parent computed several images at once on such an engine.
    """
    if engine_called(engine).shares_threads and _loaded_for_several.get(engine, os.getpid()) != os.getpid():
        raise ToolError(
            f"this process was forked after its parent had computed several images at once, and {engine} does not work "
            "in such a child: start processes with multiprocessing's method spawn, fork before the pipeline is used, "
            "or set MASKSERVE_STREAMS=1 in the parent"
        )


_pools: weakref.WeakSet[CorePool] = weakref.WeakSet()


def _after_fork() -> None:
    """Keep what the parent loaded: to be freed, OpenVINO waits for its threads, which a child does not have."""
    for pool in tuple(_pools):
        pool.keep_for_ever()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
