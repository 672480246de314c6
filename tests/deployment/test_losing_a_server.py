"""Real servers behind the real proxies: a lost server takes little with it, and only what clients need is open."""

from __future__ import annotations

import http.client
from typing import Any
from urllib.parse import urlsplit

import grpc
import pytest
from tritonclient.grpc import service_pb2 as pb
from tritonclient.grpc import service_pb2_grpc

from maskserve import create_pipeline
from maskserve.errors import InvalidImage, ModelNotFound
from tests.conftest import DEMO
from tests.deployment.fleet import MODEL, Fleet
from tests.deployment.load import Load, answers, images
from tests.deployment.proxies import Envoy, Proxy
from tests.deployment.verify import kill, lose


@pytest.fixture(scope="module")
def expected(fleet: Fleet) -> list[tuple[Any, Any]]:
    return answers(fleet.servers[0].grpc_url, images())


def test_a_server_that_is_killed_takes_what_it_has_with_it_and_nothing_else(
    proxy: Proxy, fleet: Fleet, expected: list[tuple[Any, Any]]
) -> None:
    with Load([proxy.grpc_url, proxy.http_url] * 2, images(), expected) as load:
        outcome = lose(proxy, fleet, load, kill, requests=20)
    assert outcome.problems == ()
    assert outcome.lost <= 4  # one of each client
    assert outcome.sent >= 60
    assert any(boxes for boxes, _ in expected)


def test_what_a_server_says_of_a_request_comes_through(proxy: Proxy) -> None:
    for url in (proxy.grpc_url, proxy.http_url):
        with create_pipeline(MODEL, url=url, retries=0) as pipeline, pytest.raises(InvalidImage):
            list(pipeline.predict(b"no image"))
        with create_pipeline("nobody", url=url, retries=0) as pipeline, pytest.raises(ModelNotFound, match=MODEL):
            list(pipeline.predict(images()[0]))


def urls_with_a_status(proxy: Proxy) -> list[str]:
    """Those at which it reads what a server says of a request: HAProxy knows nothing of gRPC's."""
    return [proxy.http_url, *([proxy.grpc_url] if isinstance(proxy, Envoy) else [])]


def test_a_large_request_is_asked_again(proxy: Proxy) -> None:
    """It was kept as a whole, and not passed on while it came in."""
    for url in urls_with_a_status(proxy):
        before = proxy.retries()
        with create_pipeline("nobody", url=url, retries=0) as pipeline, pytest.raises(ModelNotFound):
            list(pipeline.predict(images()[-1]))
        assert proxy.retries() > before


def test_a_model_that_one_server_has_is_found_there(proxy: Proxy) -> None:
    """As while servers get a new model, one after another."""
    for url in urls_with_a_status(proxy):
        before = proxy.retries()
        with create_pipeline(DEMO, url=url, retries=0, threshold=0.1, concurrency=1) as pipeline:
            results = list(pipeline.predict(images()[:1] * 8))
        assert len(results) == 8
        assert proxy.retries() > before


def status(proxy: Proxy, method: str, path: str) -> int:
    connection = http.client.HTTPConnection(urlsplit(proxy.http_url).netloc, timeout=60)
    try:
        connection.request(method, path, b"{}" if method == "POST" else None)
        return connection.getresponse().status
    finally:
        connection.close()


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", f"/v2/repository/models/{MODEL}/unload"),
        ("POST", f"/v2//repository/models/{MODEL}/unload"),
        ("POST", f"/v2/models/x/../../repository/models/{MODEL}/unload"),
        ("POST", f"/v2/models/x%2f..%2f..%2frepository/models/{MODEL}/unload"),
        ("POST", "/v2/systemsharedmemory/region/x/register"),
        ("GET", "/v2/cudasharedmemory/status"),
        ("POST", "/v2/trace/setting"),
        ("POST", f"/v2/models/{MODEL}/trace/setting"),
        ("POST", "/v2/logging"),
        ("GET", "/metrics"),
    ],
)
def test_what_clients_do_not_need_is_closed_over_http(proxy: Proxy, method: str, path: str) -> None:
    assert status(proxy, method, path) in {400, 403}


@pytest.mark.parametrize("path", ["/v2", "/v2/health/live", "/v2/health/ready", f"/v2/models/{MODEL}/versions/1/ready"])
def test_what_clients_need_is_open_over_http(proxy: Proxy, path: str) -> None:
    assert status(proxy, "GET", path) == 200


@pytest.mark.parametrize("step", ["preprocess", "core", "postprocess"])
@pytest.mark.parametrize("path", ["/infer", "", "/versions/1/infer"])
def test_the_steps_of_a_model_are_closed_over_http(proxy: Proxy, step: str, path: str) -> None:
    assert status(proxy, "POST", f"/v2/models/{DEMO}.{step}{path}") == 403
    spelled = step.replace("o", "%6F", 1)  # as Triton reads it
    assert status(proxy, "POST", f"/v2/models/{DEMO}.{spelled}{path}") in {400, 403}
    assert status(proxy, "POST", f"/v2/models/{DEMO}%2E{step}{path}") in {400, 403}


@pytest.mark.parametrize("step", ["core", "postprocess"])
def test_the_steps_of_a_model_are_closed_over_grpc(proxy: Proxy, step: str) -> None:
    """HAProxy refuses them by their name, which Envoy does not read: there the step itself does."""
    with grpc.insecure_channel(urlsplit(proxy.grpc_url).netloc) as channel:
        stub = service_pb2_grpc.GRPCInferenceServiceStub(channel)
        with pytest.raises(grpc.RpcError) as refused:
            stub.ModelInfer(pb.ModelInferRequest(model_name=f"{DEMO}.{step}"), timeout=60)
        assert refused.value.code() in {grpc.StatusCode.PERMISSION_DENIED, grpc.StatusCode.INVALID_ARGUMENT}


def test_what_clients_do_not_need_is_closed_over_grpc(proxy: Proxy) -> None:
    requests = {
        "RepositoryModelUnload": pb.RepositoryModelUnloadRequest(model_name=MODEL),
        "SystemSharedMemoryRegister": pb.SystemSharedMemoryRegisterRequest(name="x", key="/x", byte_size=1),
        "CudaSharedMemoryStatus": pb.CudaSharedMemoryStatusRequest(),
        "TraceSetting": pb.TraceSettingRequest(),
        "LogSettings": pb.LogSettingsRequest(),
    }
    with grpc.insecure_channel(urlsplit(proxy.grpc_url).netloc) as channel:
        stub = service_pb2_grpc.GRPCInferenceServiceStub(channel)
        for method, message in requests.items():
            with pytest.raises(grpc.RpcError) as refused:
                getattr(stub, method)(message, timeout=60)
            assert refused.value.code() is grpc.StatusCode.PERMISSION_DENIED, method
        assert stub.ServerReady(pb.ServerReadyRequest(), timeout=60).ready
