"""Leaving a loop over results while its source or its server is silent; and results in a forked process."""

import asyncio
import http.server
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time

import pytest
from tests.client.conftest import values

from maskserve import AsyncPipeline
from maskserve.errors import MaskserveError
from maskserve.pipeline import Pipeline

PATIENCE = 20  # seconds, after which a test that hangs fails


@pytest.fixture
def silent(grey):
    """A source that gives one frame and then nothing until the test is over; it may be an asynchronous one."""
    over = threading.Event()

    def frames():
        yield grey(7)
        over.wait(PATIENCE)

    yield frames
    over.set()


def test_leaving_while_the_source_is_silent(pipeline, transport, silent):
    begun = time.monotonic()
    results = pipeline.predict(silent())
    assert values([next(results)]) == [7]
    results.close()
    assert time.monotonic() - begun < PATIENCE / 4
    assert len(transport.requests) == 1


def test_leaving_an_asynchronous_one(transport, silent):
    async def run():
        results = AsyncPipeline(Pipeline("tiny", transport)).predict(silent())
        assert values([await anext(results)]) == [7]
        await results.aclose()

    begun = time.monotonic()
    asyncio.run(run())
    assert time.monotonic() - begun < PATIENCE / 4


def test_leaving_closes_an_asynchronous_source_that_waits(transport, grey):
    ended = []

    async def frames():
        try:
            yield grey(7)
            await asyncio.sleep(PATIENCE)
        finally:
            ended.append(True)

    async def run():
        results = AsyncPipeline(Pipeline("tiny", transport)).predict(frames())
        assert values([await anext(results)]) == [7]
        await results.aclose()
        assert ended == [True]

    asyncio.run(run())


def test_results_that_lie_about_when_the_loop_ends(transport, grey, silent, caplog):
    kept = []

    async def frames():
        yield grey(7)
        await asyncio.Event().wait()

    async def run():
        pipeline = AsyncPipeline(Pipeline("tiny", transport))
        for source in (silent(), frames(), (grey(7) for _ in range(1000)), [grey(7)] * 50):
            kept.append(pipeline.predict(source))
            assert values([await anext(kept[-1])]) == [7]
        async for _ in pipeline.predict(frames()):
            break

    asyncio.run(run())
    assert caplog.records == []  # asyncio complains there


def test_leaving_lets_the_camera_end_its_step(pipeline, grey):
    """What the caller closes after the loop is not in use any more."""
    stepping = threading.Lock()

    def frames():
        while True:
            with stepping:
                time.sleep(0.02)
            yield grey(1)

    for _ in pipeline.predict(frames()):
        break
    assert stepping.acquire(blocking=False)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
def test_a_forked_process_is_told_that_the_results_are_its_parents(pipeline, grey):
    results = pipeline.predict([grey(1), grey(2)])
    assert values([next(results)]) == [1]
    child = os.fork()
    if not child:
        try:
            next(results)
        except MaskserveError:
            os._exit(7)
        os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
    assert values(results) == [2]


PROGRAM = """
import asyncio, sys, threading
import numpy as np
from tests.client.conftest import FakeTransport
from maskserve import AsyncPipeline
from maskserve.pipeline import Pipeline

def frames():
    yield np.full((6, 8, 3), 7, np.uint8)
    threading.Event().wait({patience})

async def aframes():
    yield np.full((6, 8, 3), 7, np.uint8)
    await asyncio.sleep({patience})

def synchronous():
    for _ in Pipeline("tiny", FakeTransport()).predict(frames()):
        print("result", flush=True)

async def asynchronous(source):
    async for _ in AsyncPipeline(Pipeline("tiny", FakeTransport())).predict(source):
        print("result", flush=True)

try:
    {call}
except KeyboardInterrupt:
    print("interrupted")
"""


@pytest.mark.skipif(sys.platform == "win32", reason="signals of another kind")
@pytest.mark.parametrize(
    "call", ["synchronous()", "asyncio.run(asynchronous(frames()))", "asyncio.run(asynchronous(aframes()))"]
)
def test_ctrl_c_ends_the_program_while_the_source_is_silent(call):
    program = textwrap.dedent(PROGRAM).format(call=call, patience=PATIENCE)
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        assert process.stdout.readline() == "result\n"
        begun = time.monotonic()
        process.send_signal(signal.SIGINT)
        assert process.communicate(timeout=PATIENCE)[0] == "interrupted\n"
    assert process.returncode == 0
    assert time.monotonic() - begun < PATIENCE / 2


SLOW_SERVER = """
import sys
import numpy as np
from maskserve import create_pipeline

try:
    for _ in create_pipeline("m", url=sys.argv[1], shared_memory=False).predict(np.zeros((6, 8, 3), np.uint8)):
        print("result")
except KeyboardInterrupt:
    print("interrupted")
"""


class Slow(http.server.BaseHTTPRequestHandler):
    """A model's configuration at once, its answers never."""

    asked, over = threading.Event(), threading.Event()

    def do_GET(self):
        body = b'{"parameters": {"labels": {"string_value": "[]"}}}'
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_POST(self):
        self.asked.set()
        self.over.wait(PATIENCE)

    def log_message(self, *_):
        pass


@pytest.mark.skipif(sys.platform == "win32", reason="signals of another kind")
def test_ctrl_c_ends_the_program_while_the_server_is_silent():
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Slow) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        command = [sys.executable, "-c", SLOW_SERVER, f"http://127.0.0.1:{server.server_port}"]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            assert Slow.asked.wait(PATIENCE)
            begun = time.monotonic()
            process.send_signal(signal.SIGINT)
            assert process.communicate(timeout=PATIENCE)[0] == "interrupted\n"
        assert time.monotonic() - begun < PATIENCE / 2
        Slow.over.set()
        server.shutdown()
