"""A pool of decoder processes: what an image does to one of them is its own trouble and nobody else's."""

from __future__ import annotations

import logging
import queue
import threading
import weakref
from contextlib import contextmanager
from typing import TYPE_CHECKING

import numpy as np

from maskserve.decoding.decode import plain_pixels
from maskserve.decoding.decoder_process import DecoderProcess, Gone, Unused
from maskserve.errors import InvalidImage, ModelNotReady, ToolError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from maskserve.decoding.limits import Limits

_log = logging.getLogger("maskserve")
_ATTEMPTS = 3  # with processes that were gone before they had the file
_WAIT_SECONDS = 30.0  # for a process that has nothing to do
_JOIN_SECONDS = 5.0  # for the thread that starts processes, when it may be starting one
_LONGEST_PAUSE = 10.0  # between attempts to start one


class DecoderPool:
    """Processes that decode image files, of which one more than the work needs is kept ready.

    A process that dies or takes too long over a file is replaced, and the file refused. Threads may share a pool; a
    forked process may not.

    Args:
        limits: for the files, and for each process.
        size: how many processes.

    Raises:
        ToolError: no process can be started.
    """

    def __init__(self, limits: Limits, size: int) -> None:
        self._limits = limits
        self._idle: queue.LifoQueue[DecoderProcess] = queue.LifoQueue()
        self._keeper = _Keeper(limits, self._idle)
        self._close = weakref.finalize(self, self._keeper.close)
        self._keeper.start(size)

    @property
    def deaths(self) -> int:
        """How many processes have ended over a file."""
        return self._keeper.deaths

    @property
    def pids(self) -> list[int]:
        """The process ids of those that run."""
        return self._keeper.pids()

    @contextmanager
    def lend(self, content: bytes, least: tuple[int, int] | None = None) -> Iterator[NDArray[np.uint8]]:
        """Decode a file, and lend its pixels, read-only uint8 [height, width, 3] BGR, until the context ends.

        Args:
            content: the file.
            least: the height and width that are enough, see `maskserve.decoding.decode`; None for all pixels.

        Raises:
            InputError: see `maskserve.decoding.decode`; `InvalidImage` too where the decoder died or took too long.
            ModelNotReady: no decoder is there, or all of them are busy for too long.
        """
        plain = plain_pixels(content, self._limits)
        if plain is not None:
            yield plain
            return
        process, pixels = self._decoded(content, least)
        try:
            yield pixels
        finally:
            del pixels
            self._idle.put(process)

    def decode(self, content: bytes) -> NDArray[np.uint8]:
        """Return the pixels of a file, uint8 [height, width, 3] BGR.

        Raises:
            InputError: see `lend`.
            ModelNotReady: likewise.
        """
        with self.lend(content) as pixels:
            return np.array(pixels)

    def close(self) -> None:
        """End all processes."""
        self._close()

    def _decoded(self, content: bytes, least: tuple[int, int] | None) -> tuple[DecoderProcess, NDArray[np.uint8]]:
        for _ in range(_ATTEMPTS):
            process = self._take()
            try:
                return process, process.decode(content, least)
            except Unused as error:
                _log.warning("A decoder process was gone (%s); another one is asked.", error)
                self._keeper.replace(process)
            except Gone as error:
                self._keeper.bury(process)
                _log.warning("An image was refused, and a decoder process replaced: %s.", error)
                raise InvalidImage(f"the image cannot be decoded: {error}") from None
            except BaseException:
                self._idle.put(process)
                raise
        raise ModelNotReady("the decoder processes do not run; the log says why")

    def _take(self) -> DecoderProcess:
        while True:
            try:
                process = self._idle.get(timeout=_WAIT_SECONDS)
            except queue.Empty:
                raise ModelNotReady("all decoder processes are busy, or cannot be started") from None
            if process.usable:
                return process
            self._keeper.replace(process)


class _Keeper:
    """Starts processes and ends them, in a thread of its own: requests do not wait for it.

    The kernel ends a process with the thread that started it, so that one thread starts all of them.
    """

    def __init__(self, limits: Limits, idle: queue.LifoQueue[DecoderProcess]) -> None:
        self.deaths = 0
        self._limits = limits
        self._idle = idle
        self._wanted: queue.SimpleQueue[bool] = queue.SimpleQueue()
        self._closed = threading.Event()
        self._lock = threading.Lock()
        self._processes: set[DecoderProcess] = set()
        self._failure: Exception | None = None
        self._started = threading.Event()
        self._thread = threading.Thread(target=self._work, name="maskserve-decoders", daemon=True)

    def start(self, count: int) -> None:
        """Start processes, and wait for the first.

        Raises:
            ToolError: it does not start.
        """
        for _ in range(count):
            self._wanted.put(True)
        self._thread.start()
        self._started.wait()
        if self._failure is not None:
            failure = self._failure
            self.close()
            raise ToolError(
                f"no decoder process can be started: {failure}; MASKSERVE_DECODERS=0 decodes in the model's own "
                "process, which a hostile image can end then"
            ) from failure

    def replace(self, process: DecoderProcess) -> None:
        """End a process, and let another one be started."""
        with self._lock:
            self._processes.discard(process)
        process.end()
        self._wanted.put(True)

    def bury(self, process: DecoderProcess) -> None:
        """Replace a process that a file ended."""
        self.deaths += 1
        self.replace(process)

    def pids(self) -> list[int]:
        """Return the process ids of those that are there, ready or not."""
        with self._lock:
            return [process.pid for process in self._processes]

    def close(self) -> None:
        """End the processes and the thread."""
        self._closed.set()
        self._wanted.put(False)
        with self._lock:
            processes, self._processes = self._processes, set()
        for process in processes:
            process.end()
        if self._thread.is_alive() and self._thread is not threading.current_thread():
            self._thread.join(_JOIN_SECONDS)

    def _work(self) -> None:
        pause = 0.1
        while self._wanted.get() and not self._closed.is_set():
            try:
                self._start_one()
                pause = 0.1
            except Exception as error:
                if not self._started.is_set():
                    self._failure = error
                    self._started.set()
                    return
                _log.error("A decoder process cannot be started: %s. The next attempt is in %g s.", error, pause)
                self._wanted.put(True)
                self._closed.wait(pause)
                pause = min(2 * pause, _LONGEST_PAUSE)

    def _start_one(self) -> None:
        process = DecoderProcess(self._limits)
        with self._lock:
            closed = self._closed.is_set()
            if not closed:
                self._processes.add(process)
        try:
            if closed:
                raise Gone("the pool was closed")
            process.wait_until_ready()
        except Gone as error:
            with self._lock:
                self._processes.discard(process)
            process.end()
            if not self._closed.is_set():
                raise ToolError(f"it ended while it started: {error}") from None
        else:
            self._idle.put(process)
            self._started.set()
