"""Decoders in processes of their own: their death, their slowness and their hunger cost one image."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from functools import cache
from pathlib import Path

import cv2
import numpy as np
import psutil
import pytest
from tests.fuzz import run

from maskserve.decoding import decoders
from maskserve.decoding.decoders import OwnProcess, open_decoder
from maskserve.decoding.limits import Limits
from maskserve.decoding.pool import DecoderPool
from maskserve.errors import ImageTooLarge, InvalidImage, ToolError

LIMITS = Limits()
IMAGE = np.random.default_rng(0).integers(0, 255, (40, 60, 3), np.uint8)
PNG = bytes(cv2.imencode(".png", IMAGE)[1])


@cache
def slow_image() -> bytes:
    """Nine megapixels of noise in ten scans: decoding takes long enough to be met at it."""
    noise = np.random.default_rng(1).integers(0, 255, (3000, 3000, 3), np.uint8)
    return bytes(cv2.imencode(".jpg", noise, [cv2.IMWRITE_JPEG_PROGRESSIVE, 1])[1])


@pytest.fixture
def pool() -> Iterator[DecoderPool]:
    with open_pool(LIMITS) as opened:
        yield opened


@contextmanager
def open_pool(limits: Limits, size: int = 2) -> Iterator[DecoderPool]:
    """A pool whose processes all run, and are gone when it is closed."""
    opened = DecoderPool(limits, size)
    try:
        wait_for(lambda: opened._idle.qsize() == size)  # one that is starting would be taken for one at work
        yield opened
    finally:
        known = processes(opened)
        opened.close()
        assert not [process for process in known if process.is_running()]


def processes(pool: DecoderPool) -> list[psutil.Process]:
    return [psutil.Process(pid) for pid in pool.pids]


def wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.002)


def at_work(pool: DecoderPool) -> psutil.Process:
    """The process that is decoding: it has taken more of the processor's time than it takes to start."""
    before = {process.pid: sum(process.cpu_times()[:2]) for process in processes(pool)}
    while True:
        for process in processes(pool):
            if sum(process.cpu_times()[:2]) > before.get(process.pid, 99) + 0.03:
                return process
        time.sleep(0.002)


def decoded_meanwhile(pool: DecoderPool, content: bytes, event: Callable[[psutil.Process], object]) -> Exception | None:
    """What decoding ends with while something happens to the process that does it."""
    ended: list[Exception | None] = []

    def work() -> None:
        try:
            pool.decode(content)
            ended.append(None)
        except Exception as error:
            ended.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    event(at_work(pool))
    thread.join(60)
    assert not thread.is_alive(), "the image is waited for without an end"
    return ended[0]


def test_limits_hold() -> None:
    with open_pool(Limits(max_bytes=1000, max_pixels=100)) as pool:
        for content in (PNG, bytes(cv2.imencode(".bmp", IMAGE)[1]), b"x" * 2000):
            with pytest.raises(ImageTooLarge):
                pool.decode(content)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSEGV, signal.SIGABRT])
def test_the_image_over_which_a_decoder_dies_is_refused_at_once(pool: DecoderPool, number: signal.Signals) -> None:
    error = decoded_meanwhile(pool, slow_image(), lambda process: process.send_signal(number))
    assert isinstance(error, InvalidImage)
    assert f"the decoder died ({number.name})" in error.message
    assert np.array_equal(pool.decode(PNG), IMAGE)
    assert pool.deaths == 1
    wait_for(lambda: pool._idle.qsize() == 2)


def test_a_stopped_decoder_costs_one_image(pool: DecoderPool) -> None:
    error = decoded_meanwhile(pool, slow_image(), lambda process: process.suspend())
    assert isinstance(error, InvalidImage)
    assert "stopped" in error.message
    assert np.array_equal(pool.decode(PNG), IMAGE)


@pytest.mark.parametrize("event", ["kill", "suspend"])
def test_what_happens_to_an_idle_decoder_costs_no_image(pool: DecoderPool, event: str) -> None:
    for _ in range(3):
        wait_for(lambda: pool._idle.qsize() == 2)
        for process in processes(pool):
            getattr(process, event)()
        assert np.array_equal(pool.decode(PNG), IMAGE)
    assert pool.deaths == 0


def test_a_decoder_that_takes_too_long_is_ended() -> None:
    with open_pool(replace(LIMITS, decode_seconds=0.2)) as pool:
        begun = time.process_time()
        with pytest.raises(InvalidImage, match=r"longer than 0\.2 s"):
            pool.decode(slow_image())
        assert time.process_time() - begun < 1
        assert np.array_equal(pool.decode(PNG), IMAGE)


def test_a_decoder_that_takes_too_much_memory_costs_one_image() -> None:
    bomb = bytes(cv2.imencode(".png", np.zeros((5000, 8000, 3), np.uint8))[1])  # 120 MB of pixels in 120 kB
    with open_pool(replace(LIMITS, decode_bytes=60 << 20)) as pool:
        with pytest.raises(ImageTooLarge, match="memory"):
            pool.decode(bomb)
        assert np.array_equal(pool.decode(PNG), IMAGE)
        for process in processes(pool):
            assert process.memory_info().rss < 200 << 20
    with open_pool(LIMITS) as pool:
        assert pool.decode(bomb).shape == (5000, 8000, 3)


def test_the_memory_of_a_large_file_is_its_own() -> None:
    file = bytes(cv2.imencode(".jpg", np.zeros((5000, 5000, 3), np.uint8))[1]) + bytes(150 << 20)
    with open_pool(replace(LIMITS, decode_bytes=60 << 20)) as pool:
        assert pool.decode(file).shape == (5000, 5000, 3)
        assert pool.deaths == 0


def test_neighbours_of_a_poison_image_notice_nothing() -> None:
    """Threads decode without a pause, while processes die under the images of another one."""
    wrong: list[object] = []
    done = threading.Event()
    with open_pool(replace(LIMITS, decode_seconds=0.1), 4) as pool:

        def work() -> None:
            while not done.is_set():
                try:
                    if not np.array_equal(pool.decode(PNG), IMAGE):
                        wrong.append("other pixels")
                except Exception as error:
                    wrong.append(error)

        threads = [threading.Thread(target=work) for _ in range(2)]
        for thread in threads:
            thread.start()
        for _ in range(4):
            with pytest.raises(InvalidImage, match="longer"):
                pool.decode(slow_image())
        done.set()
        for thread in threads:
            thread.join()
        assert pool.deaths == 4
    assert wrong == []


def test_the_processes_end_with_their_parent(tmp_path: Path) -> None:
    program = f"""
import os, sys
sys.path[:] = {sys.path!r}
from maskserve.decoding.decoders import open_decoder
from maskserve.decoding.limits import Limits
pool = open_decoder(Limits())
pool.decode(open({str(tmp_path / "a.png")!r}, "rb").read())
print("ready", flush=True)
sys.stdin.read()
"""
    (tmp_path / "a.png").write_bytes(PNG)
    with subprocess.Popen(
        [sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as parent:
        assert parent.stdout
        assert parent.stdout.readline() == "ready\n"
        children = psutil.Process(parent.pid).children(recursive=True)
        assert children
        children[0].suspend()  # even that
        parent.kill()
    gone, alive = psutil.wait_procs(children, timeout=20)
    for process in alive:
        process.kill()
    assert len(gone) == len(children)


def test_nothing_is_left_in_shared_memory(pool: DecoderPool) -> None:
    before = set(os.listdir("/dev/shm"))
    pool.decode(slow_image())
    assert not [name for name in set(os.listdir("/dev/shm")) - before if "pixels" in name or "file" in name]


def test_a_pool_that_is_forgotten_ends_its_processes(pool) -> None:
    pool = DecoderPool(LIMITS, 2)
    known = processes(pool)
    del pool
    wait_for(lambda: not any(process.is_running() for process in known))


def test_secrets_are_not_handed_to_decoders(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MASKSERVE_API_KEY", "secret")
    with open_pool(LIMITS) as other:
        other.decode(PNG)
        for process in processes(other):
            with suppress(psutil.NoSuchProcess):
                assert "MASKSERVE_API_KEY" not in process.environ()


def test_no_core_file_is_written(pool: DecoderPool) -> None:
    for process in processes(pool):
        limits = Path(f"/proc/{process.pid}/limits").read_text(encoding="ascii")
        assert "Max core file size        0 " in limits


def test_the_variable_says_how_many(monkeypatch: pytest.MonkeyPatch) -> None:
    assert isinstance(open_decoder(LIMITS, environment={"MASKSERVE_DECODERS": "0"}), OwnProcess)
    with pytest.raises(ToolError, match="MASKSERVE_DECODERS"):
        open_decoder(LIMITS, environment={"MASKSERVE_DECODERS": "many"})
    monkeypatch.setattr("maskserve.decoding.pool.DecoderPool", lambda limits, size: size)
    assert open_decoder(LIMITS, environment={"MASKSERVE_DECODERS": "3"}) == 3
    assert open_decoder(LIMITS, environment={}) == 2
    assert decoders.VARIABLE == "MASKSERVE_DECODERS"


def test_an_interpreter_that_does_not_start_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("maskserve.decoding.interpreter.interpreter", lambda: "/bin/false")
    with pytest.raises(ToolError, match=r"no decoder process can be started.*exit status 1.*MASKSERVE_DECODERS=0"):
        DecoderPool(LIMITS, 2)
    monkeypatch.setattr("maskserve.decoding.interpreter.interpreter", lambda: "/nothing")
    with pytest.raises(ToolError, match="no decoder process can be started"):
        DecoderPool(LIMITS, 2)


# Each is the first file of its kind that took a decoder over 500 MB: an image of 72 megapixels, whose pixels were there
# twice, and a large JPEG whose decoder was counted without what it has from the start.
@pytest.mark.parametrize("case", [3504306, 3013529, 3010388])
def test_no_file_takes_over_500_megabytes(case: int) -> None:
    with open_pool(LIMITS, 1) as pool:
        file = run.make(case)[1]
        run._decode(pool, file)
        assert 0 < run._peak(pool) < 500_000_000 + len(file)


def test_the_pixels_of_the_last_image_do_not_count_with_the_next() -> None:
    large = bytes(cv2.imencode(".png", np.zeros((4000, 5000, 3), np.uint8))[1])  # 60 MB, which are kept
    with open_pool(LIMITS, 1) as pool:
        assert pool.decode(large).shape == (4000, 5000, 3)
        alone = run._peak(pool)
        assert pool.decode(large).shape == (4000, 5000, 3)
        assert 0 < run._peak(pool) < alone + 20_000_000
