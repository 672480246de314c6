"""What a real server takes in, refuses and leaves alone, counted by the runs of its network."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from maskserve.errors import InvalidParameter, MaskserveError, RequestTimeout, ServerOverloaded
from maskserve.transport.base import Transport
from maskserve.transport.cancellation import Cancellation
from maskserve.transport.connect import open_transport
from maskserve.transport.endpoint import parse_url
from maskserve.transport.wire import ImageRequest
from maskserve_server import metrics
from tests.conftest import DEMO, ROOT
from tests.docker.scraping import scrape
from tests.waiting import wait_until

if TYPE_CHECKING:
    from maskserve_tools.embedded import Server

MODELS = (DEMO, f"{DEMO}-single")
IMAGE = (ROOT / "demo" / "photos" / "astronaut.jpg").read_bytes()
MANY = 16


@pytest.fixture(params=MODELS)
def model(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(params=["grpc", "http"])
def transport(request: pytest.FixtureRequest, server: Server) -> Iterator[Transport]:
    with closing(open_transport(parse_url(server.grpc_url if request.param == "grpc" else server.http_url))) as opened:
        yield opened


def core_runs(server: Server, model: str) -> int:
    found = scrape(server.metrics_url)
    return round(sum(value for (name, labels), value in found.items()
                     if name == metrics.RUNS and dict(labels)["model"] == model))  # fmt: skip


def outcome(transport: Transport, model: str, request: ImageRequest) -> type[MaskserveError] | None:
    try:
        transport.infer(model, request)
    except MaskserveError as error:
        return type(error)
    return None


@pytest.mark.parametrize(
    "wrong", [{"threshold": 1.5}, {"threshold": float("nan")}, {"class_ids": (99,)}, {"class_ids": (-1,)}]
)
def test_what_makes_no_sense_costs_no_run(
    server: Server, transport: Transport, model: str, wrong: dict[str, Any]
) -> None:
    before = core_runs(server, model)
    with pytest.raises(InvalidParameter):
        transport.infer(model, ImageRequest(IMAGE, **wrong))
    assert core_runs(server, model) == before
    transport.infer(model, ImageRequest(IMAGE))
    assert core_runs(server, model) == before + 1


def test_who_hangs_up_is_computed_nothing(server: Server, model: str) -> None:
    """Over gRPC, whose cancellation Triton tells to the step that comes next."""
    with closing(open_transport(parse_url(server.grpc_url))) as transport:
        before, cancellation, begun = core_runs(server, model), Cancellation(), threading.Barrier(MANY + 1)

        def ask() -> None:
            begun.wait()
            outcome(transport, model, ImageRequest(IMAGE, cancellation=cancellation))

        with ThreadPoolExecutor(MANY) as threads:
            for _ in range(MANY):
                threads.submit(ask)
            begun.wait()
            wait_until(lambda: core_runs(server, model) > before, "the first one is under way")
            cancellation.call_off()
        transport.infer(model, ImageRequest(IMAGE))  # behind all of them
        assert core_runs(server, model) - before - 1 <= 5


def test_whose_time_has_passed_is_computed_nothing(server: Server, model: str) -> None:
    """Over HTTP, where Triton does not tell who hangs up: the deadline that the client sends is the second guard."""
    endpoint = parse_url(server.http_url)
    with closing(open_transport(endpoint)) as patient:
        patient.infer(model, ImageRequest(IMAGE))
        before = core_runs(server, model)
        begun = time.perf_counter()
        patient.infer(model, ImageRequest(IMAGE))
        one = time.perf_counter() - begun
        hurried = open_transport(_with_timeout(endpoint, 3 * one))
        with closing(hurried), ThreadPoolExecutor(MANY) as threads:
            kinds = list(threads.map(lambda _: outcome(hurried, model, ImageRequest(IMAGE)), range(MANY)))
        patient.infer(model, ImageRequest(IMAGE))
        runs = core_runs(server, model) - before - 2
    assert set(kinds) <= {None, RequestTimeout, ServerOverloaded}
    assert runs <= kinds.count(None) + 4, f"{runs} runs for {kinds.count(None)} answers"
    assert runs < MANY


def _with_timeout(endpoint: Any, seconds: float) -> Any:
    from dataclasses import replace

    return replace(endpoint, timeout=seconds)


@pytest.mark.parametrize("step", ["core", "postprocess"])
@pytest.mark.parametrize("ticket", [None, [0] * 6, [1, 2, 0, 30000, 30000, 5]])
def test_a_step_takes_requests_of_its_model_only(server: Server, step: str, ticket: list[int] | None) -> None:
    """`people.postprocess` with a size of 30000x30000 blocked everybody for a minute."""
    import tritonclient.grpc as triton

    with closing(triton.InferenceServerClient(server.grpc_url.removeprefix("grpc://"))) as client:
        config = client.get_model_config(f"{DEMO}.{step}", as_json=True)["config"]
        inputs = [_tensor(triton, declared, ticket) for declared in config["input"]]
        begun = time.perf_counter()
        with pytest.raises(triton.InferenceServerException, match=r"a step of people|missing|expected"):
            client.infer(f"{DEMO}.{step}", [tensor for tensor in inputs if tensor is not None])
        assert time.perf_counter() - begun < 5


def test_who_asks_the_first_step_gets_past_the_queue_once(server: Server) -> None:
    import tritonclient.grpc as triton

    with closing(triton.InferenceServerClient(server.grpc_url.removeprefix("grpc://"))) as client:
        image = triton.InferInput("IMAGE", [1], "BYTES")
        image.set_data_from_numpy(np.array([IMAGE], np.object_))
        prepared = client.infer(f"{DEMO}.preprocess", [image])
        inputs = []
        for declared in client.get_model_config(f"{DEMO}.core", as_json=True)["config"]["input"]:
            array = prepared.as_numpy(declared["name"])
            tensor = triton.InferInput(declared["name"], list(array.shape), declared["data_type"].removeprefix("TYPE_"))
            tensor.set_data_from_numpy(array)
            inputs.append(tensor)
        client.infer(f"{DEMO}.core", inputs)
        with pytest.raises(triton.InferenceServerException, match="a step of people"):
            client.infer(f"{DEMO}.core", inputs)


def _tensor(triton: Any, declared: dict[str, Any], ticket: list[int] | None) -> Any:
    name, kind = declared["name"], declared["data_type"].removeprefix("TYPE_")
    shape = [100 if int(size) < 0 else int(size) for size in declared["dims"]]
    if name == "ADMISSION" and ticket is None:
        return None
    values = np.ones(shape, triton.triton_to_np_dtype(kind) if hasattr(triton, "triton_to_np_dtype") else np.float32)
    if name == "ADMISSION":
        values = np.array(ticket, np.int64)
    if name == "IMAGE_SIZE":
        values = np.array([30000, 30000], np.int32)
    elif kind == "INT32":
        values = values.astype(np.int32)
    tensor = triton.InferInput(name, list(values.shape), kind)
    tensor.set_data_from_numpy(values)
    return tensor


def test_a_crowd_is_answered_or_refused_at_once(server: Server, transport: Transport, model: str) -> None:
    """More than can be answered in time: some answers, and for the rest a refusal that says when to come back."""
    hurried = open_transport(_with_timeout(parse_url(transport.url), 1.5))
    transport.infer(model, ImageRequest(IMAGE))
    with closing(hurried), ThreadPoolExecutor(64) as threads:
        kinds = list(threads.map(lambda _: outcome(hurried, model, ImageRequest(IMAGE)), range(64)))
    assert set(kinds) <= {None, RequestTimeout, ServerOverloaded}
    assert kinds.count(None) >= 1
    assert kinds.count(ServerOverloaded) >= 8  # a fast machine answers 40 in this time
