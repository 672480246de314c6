"""Cores for a lone request and for several at once."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import numpy as np
import pytest

from maskserve.errors import InvalidParameter, RequestTimeout, ToolError
from maskserve.pipeline import Pipeline
from maskserve_local.core_pool import CorePool
from maskserve_local.cpus import stream_count
from maskserve_local.sources import Source, open_source
from maskserve_local.transport import InProcessTransport
from maskserve_server.spec import ModelSpec
from maskserve_server.stages import Core
from tests.conftest import DEMO
from tests.local.conftest import FakeEngine

LATER = 30.0


def until(true: Callable[[], bool], what: Callable[[], object]) -> None:
    """Wait for something, with an end."""
    end = time.monotonic() + LATER
    while not true():
        assert time.monotonic() < end, what()
        time.sleep(0.005)


class Loads:
    """Loads engines, and tells with what."""

    def __init__(self, spec: ModelSpec) -> None:
        self.asked: list[tuple[int, int]] = []
        self.engines: list[FakeEngine] = []
        self.error: Exception | None = None
        self.source = Source(spec, self.load)

    def load(self, threads: int, streams: int = 1) -> FakeEngine:
        self.asked.append((threads, streams))
        if self.error is not None and streams > 1:
            raise self.error
        self.engines.append(FakeEngine())
        return self.engines[-1]

    def streams_of(self, core: Core) -> int:
        """Return for how many streams the engine of a core was loaded."""
        (at,) = [number for number, engine in enumerate(self.engines) if engine is core._run]
        return [streams for streams in (s for _, s in self.asked)][at]


@pytest.fixture
def loads(spec: ModelSpec) -> Loads:
    return Loads(spec)


@contextmanager
def crowd(pool: CorePool, size: int = 2) -> Iterator[list[Core]]:
    """Hold cores as requests do that meet each other."""
    with ExitStack() as stack:
        yield [stack.enter_context(pool.lend(time.monotonic() + LATER)) for _ in range(size)]


def loaded_for_several(pool: CorePool, loads: Loads) -> None:
    for _ in range(8):
        with crowd(pool):
            pass
    until(lambda: pool._several is not None, lambda: loads.asked)


def test_a_lone_request_gets_all_threads_and_nothing_more_is_loaded(loads: Loads) -> None:
    pool = CorePool(loads.source, threads=8, streams=4)
    for _ in range(50):
        with crowd(pool, 1) as (core,):
            assert loads.streams_of(core) == 1
    assert loads.asked == [(8, 1)]


def test_requests_that_meet_are_computed_side_by_side(loads: Loads) -> None:
    pool = CorePool(loads.source, threads=8, streams=4)
    loaded_for_several(pool, loads)
    assert loads.asked == [(8, 1), (2, 4)]
    with crowd(pool, 5) as cores:  # four that compute, one that paints
        assert [loads.streams_of(core) for core in cores] == [1, 4, 4, 4, 4]
        assert len({id(core) for core in cores}) == 5
        with pytest.raises(RequestTimeout), pool.lend(time.monotonic() + 0.01):
            pass
    with crowd(pool, 1) as (core,):  # alone again
        assert loads.streams_of(core) == 1
    loaded_for_several(pool, loads)
    assert len(loads.asked) == 2


def test_one_after_the_other_where_that_is_asked_for(loads: Loads) -> None:
    pool = CorePool(loads.source, threads=8, streams=1)
    for _ in range(20):
        with crowd(pool):
            pass
    with crowd(pool), pytest.raises(RequestTimeout), pool.lend(time.monotonic() + 0.01):
        pass
    assert loads.asked == [(8, 1)]


def test_what_cannot_be_loaded_again_goes_on_one_by_one(loads: Loads, caplog: pytest.LogCaptureFixture) -> None:
    loads.error = MemoryError("too little")
    pool = CorePool(loads.source, threads=2, streams=2)
    for _ in range(20):
        with crowd(pool):
            pass
    until(lambda: "too little" in caplog.text, lambda: caplog.text)
    with crowd(pool) as cores:
        assert [loads.streams_of(core) for core in cores] == [1, 1]
    assert loads.asked == [(2, 1), (1, 2)]


def test_who_waits_goes_on_when_a_core_is_given_back(loads: Loads) -> None:
    pool = CorePool(loads.source, threads=2, streams=2)
    loaded_for_several(pool, loads)
    got = threading.Event()

    def ask() -> None:
        with pool.lend(time.monotonic() + LATER):
            got.set()

    with ExitStack() as stack:
        held = [stack.enter_context(pool.lend(time.monotonic() + LATER)) for _ in range(3)]
        assert len(held) == 3
        thread = threading.Thread(target=ask)
        thread.start()
        until(lambda: pool._waiting == 1, lambda: pool._waiting)
        assert not got.is_set()
    assert got.wait(LATER)
    thread.join(LATER)


def test_many_threads_never_hold_more_than_there_are(loads: Loads) -> None:
    pool = CorePool(loads.source, threads=3, streams=3)
    held, most, lock = 0, 0, threading.Lock()

    def ask(_: int) -> None:
        nonlocal held, most
        with pool.lend(time.monotonic() + LATER) as core:
            with lock:
                held += 1
                most = max(most, held)
            core({"image": np.zeros((1, 3, 32, 32), np.float32)})
            with lock:
                held -= 1

    with ThreadPoolExecutor(12) as threads:
        list(threads.map(ask, range(600)))
    assert held == 0
    assert most <= 4
    assert (pool._lent, pool._waiting) == (0, 0)


@pytest.mark.parametrize(("said", "threads", "count"), [("", 1, 1), ("", 2, 2), ("", 16, 4), ("3", 2, 3), ("1", 8, 1)])
def test_how_many(said: str, threads: int, count: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MASKSERVE_STREAMS", said)
    assert stream_count(threads) == count


@pytest.mark.parametrize("wrong", ["0", "-1", "two", "1.5", "٣", "99999"])
def test_a_number_that_is_none(wrong: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MASKSERVE_STREAMS", wrong)
    with pytest.raises(InvalidParameter, match="MASKSERVE_STREAMS"):
        stream_count(2)


def test_another_device_than_a_cpu_has_one_stream(loads: Loads, spec: ModelSpec) -> None:
    transport = InProcessTransport(Source(spec, loads.load, device="cuda:0"))
    assert transport._cores is not None
    assert transport._cores._streams == 1


def test_the_answers_are_the_same_side_by_side(
    demo_repository: Path, two_people: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MASKSERVE_THREADS", "2")
    source = open_source(demo_repository / f"{DEMO}-single")
    transport = InProcessTransport(source)
    pipeline = Pipeline(f"{DEMO}-single", transport)
    cores = transport._cores
    assert cores is not None
    lone = pipeline.segment(two_people)
    assert len(lone.instances) == 2
    with ThreadPoolExecutor(4) as threads:
        for _ in range(100):
            answers = list(threads.map(lambda _: pipeline.segment(two_people), range(8)))
            if cores._several is not None:
                break
        assert cores._several is not None
        answers = list(threads.map(lambda _: pipeline.segment(two_people), range(12)))
    for answer in answers:
        assert [(i.box, i.score, i.mask.to_coco()) for i in answer.instances] == [
            (i.box, i.score, i.mask.to_coco()) for i in lone.instances
        ]


def in_a_child(work: Callable[[], bool]) -> bool:
    """Return what `work` finds in a forked child."""
    child = os.fork()
    if child == 0:
        right = False
        try:
            right = work()
        finally:
            os._exit(0 if right else 1)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_a_child_that_cannot_load_the_core_never_takes_its_parents(spec: ModelSpec) -> None:
    parent, replaced = os.getpid(), ToolError("written anew")

    def load(threads: int, streams: int = 1) -> FakeEngine:
        if os.getpid() != parent:
            raise replaced
        return FakeEngine()

    pool = CorePool(Source(spec, load), threads=1)

    def refused() -> bool:
        for _ in range(2):
            with suppress(ToolError), crowd(pool, 1):
                return False
        return True

    assert in_a_child(refused)


def test_threads_of_a_child_that_meet_load_the_core_once(spec: ModelSpec) -> None:
    loads: list[int] = []

    def load(threads: int, streams: int = 1) -> FakeEngine:
        loads.append(os.getpid())
        time.sleep(0.2)
        return FakeEngine()

    pool = CorePool(Source(spec, load), threads=1)

    def used() -> Core:
        with crowd(pool, 1) as (core,):
            return core

    def loaded_once() -> bool:
        with ThreadPoolExecutor(2) as threads:
            cores = [found.result() for found in [threads.submit(used), threads.submit(used)]]
        return loads.count(os.getpid()) == 1 and all(core._run is not loaded for core in cores)

    with crowd(pool, 1) as (core,):
        loaded = core._run
    assert in_a_child(loaded_once)
