"""Large images reach a server on the same machine in shared memory, and nothing of them stays."""

import os
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
from tests.client.conftest import values

from maskserve.errors import InvalidImage, RequestTimeout
from maskserve.pipeline import Pipeline
from maskserve.transport import shared_memory as _shared_memory
from maskserve.transport.connect import open_transport
from maskserve.transport.endpoint import parse_url
from maskserve.transport.wire import ImageRequest

pytestmark = pytest.mark.skipif(not _shared_memory.FOLDER.is_dir(), reason="POSIX shared memory is not a folder here")

LARGE = (2100, 2100)  # as BMP more than either protocol's limit


def left_behind():
    return list(_shared_memory.FOLDER.glob(f"maskserve-image-{os.getpid()}-*"))


@pytest.fixture(autouse=True)
def nothing_stays(service):
    """Holds for every test here."""
    yield
    assert left_behind() == []
    assert service.regions == {}


@pytest.fixture
def large(grey):
    """An image of one value, which the fake server's score repeats."""
    return lambda value=255: grey(value, *LARGE)


@pytest.fixture
def opened(service):
    """A pipeline on the server; one image at a time, so that it is clear which comes first."""
    pipelines = []

    def open_pipeline(model="tiny", concurrency=1, **options):
        endpoint = replace(parse_url(service.url), **options)
        pipelines.append(Pipeline(model, open_transport(endpoint), concurrency=concurrency, retries=0))
        return pipelines[-1]

    yield open_pipeline
    for pipeline in pipelines:
        pipeline.close()


def test_the_same_answers_with_and_without(service, opened, large):
    for shared, count in ((None, 3), (True, 6), (False, 6)):
        images = [large(value) for value in (0, 100, 255)]
        assert values(opened(shared_memory=shared).predict(images, threshold=0.0)) == [0, 100, 255]
        assert service.images_in_regions == count


def test_small_pictures_are_sent(service, opened, grey):
    assert values(opened(shared_memory=True).predict(grey(7))) == [7]
    assert service.registrations == []


def test_no_two_requests_share_a_region(service, opened, large):
    images = [large(value) for value in range(12)]
    assert values(opened(concurrency=6).predict(images)) == list(range(12))
    assert len(set(service.registrations)) == service.images_in_regions == 12


def test_a_server_that_takes_no_regions_is_asked_once(service, opened, large):
    service.refuses = True
    pipeline = opened()
    assert values(pipeline.predict([large(1), large(2)])) == [1, 2]
    assert values(pipeline.predict(large(3))) == [3]
    assert len(service.registrations) == 1
    pipeline.close()
    service.refuses = False
    assert values(pipeline.predict(large(4))) == [4]
    assert service.images_in_regions == 1


def test_a_region_that_the_server_has_forgotten(service, opened, large):
    service.forgets = True
    assert values(opened().predict([large(1), large(2)])) == [1, 2]
    assert len(service.registrations) == 1


@pytest.mark.parametrize("version", ["2.49.0", "1.0", "unknown"])
def test_a_server_that_would_crash_over_a_late_request_gets_no_regions(service, opened, large, version):
    service.version = version
    assert values(opened().predict(large(9))) == [9]
    assert service.registrations == []


def test_no_room_in_shared_memory(service, opened, large, monkeypatch):
    monkeypatch.setattr(_shared_memory, "FOLDER", Path("/nowhere"))
    assert values(opened().predict(large(9))) == [9]
    assert service.registrations == []


@pytest.mark.parametrize("end", ["the next request", "close"])
def test_a_request_that_timed_out_keeps_its_region_until_it_has_ended(service, opened, large, end):
    pipeline = opened("slow", timeout=1.0)
    with pytest.raises(RequestTimeout):
        list(pipeline.predict(large()))
    assert list(service.regions) == service.registrations
    service.hold.set()
    while service.reading:
        time.sleep(0.01)
    if end == "close":
        pipeline.close()
    else:
        assert values(pipeline.predict(large(5))) == [5]
    assert service.regions == {}


def test_a_region_of_a_refused_picture(service):
    transport = open_transport(parse_url(service.url))
    with pytest.raises(InvalidImage):
        transport.infer("hostile", ImageRequest(bytes(13 << 20)))
    assert len(service.registrations) == 1
    transport.close()


FORK = """
import os, sys
import numpy as np
from maskserve import create_pipeline
pipeline = create_pipeline("tiny", url=sys.argv[1], timeout=20)
image = np.full((2100, 2100, 3), 255, np.uint8)
results = pipeline.predict([image] * 6)
next(results)  # fork while others are under way
child = os.fork()
if child == 0:
    status = 1
    try:
        status = 0 if len(list(pipeline.predict([image] * 2))) == 2 else 2
    finally:
        os._exit(status)
assert os.waitpid(child, 0)[1] == 0
assert len(list(results)) == 5
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork on this system")
def test_a_forked_process_has_regions_of_its_own(service):
    done = subprocess.run(
        [sys.executable, "-c", FORK, service.url], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    assert len(set(service.registrations)) == service.images_in_regions == 8
