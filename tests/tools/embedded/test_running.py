"""A real server with small models: what it answers, where it listens, in which Python its models run."""

from __future__ import annotations

import os
import signal
import socket
import sys
import urllib.request
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from maskserve.errors import ToolError
from maskserve_tools.embedded import Server, serve
from maskserve_tools.embedded.canary import HttpEndpoint, canary_image, send_test_image
from maskserve_tools.embedded.served_entries import read_repository
from tests.tools.embedded.conftest import Repository, needs_triton, region_prefix, regions

pytestmark = needs_triton


def port(url: str) -> int:
    return int(url.split(":")[2].split("/", maxsplit=1)[0])


@pytest.mark.parametrize("protocol", ["grpc", "http"])
def test_it_answers_on_both_protocols(shared_server: Server, protocol: str) -> None:
    client: Any = pytest.importorskip(f"tritonclient.{protocol}")
    url = shared_server.grpc_url if protocol == "grpc" else shared_server.http_url
    tensor = client.InferInput("IMAGE", [1], "BYTES")
    tensor.set_data_from_numpy(np.array([canary_image()], dtype=object))
    with client.InferenceServerClient(url.partition("://")[2]) as connection:
        boxes = connection.infer("Seg-S.v1", [tensor]).as_numpy("BOXES")
    assert boxes.tolist() == [[1, 2, 3, 4]]


def test_models_are_those_that_clients_call(shared_server: Server) -> None:
    assert shared_server.models == ("Seg-S.v1", "foreign")


def test_metrics_are_served(shared_server: Server) -> None:
    with urllib.request.urlopen(shared_server.metrics_url, timeout=10) as answer:
        assert b"nv_inference_request_success" in answer.read()


def test_it_listens_on_loopback_only(shared_server: Server) -> None:
    urls = (shared_server.http_url, shared_server.grpc_url, shared_server.metrics_url)
    wanted = {f"{port(url):04X}" for url in urls}
    tables = [Path(f"/proc/net/{name}") for name in ("tcp", "tcp6")]
    sockets = [line.split()[1:4] for path in tables if path.exists() for line in path.read_text().splitlines()[1:]]
    listening = [local.split(":") for local, _, state in sockets if state == "0A"]
    bound = [address for address, number in listening if number in wanted]
    assert len(bound) >= 3
    assert {address[-8:] for address in bound} == {"0100007F"}  # 127.0.0.1, perhaps as an IPv4-mapped address


def test_models_run_in_this_environment(shared_server: Server) -> None:
    from tritonclient import grpc

    tensor = grpc.InferInput("X", [1], "FP32")
    tensor.set_data_from_numpy(np.zeros(1, np.float32))
    with grpc.InferenceServerClient(shared_server.grpc_url.removeprefix("grpc://")) as client:
        prefix = client.infer("foreign", [tensor]).as_numpy("PREFIX")
    assert prefix.tolist() == [sys.prefix.encode()]


def test_regions_carry_the_prefix_of_their_server(shared_server: Server) -> None:
    assert len(regions(region_prefix(shared_server))) >= 3  # two python models and the lock


def test_a_second_server_lives_and_dies_beside_it(
    shared_server: Server, repository: Repository, grpc_infer: Any
) -> None:
    repository.segmenter("other")
    with serve(repository.path) as second:
        prefix = region_prefix(second)
        assert prefix != region_prefix(shared_server)
        assert grpc_infer(second.grpc_url, "other", canary_image()).shape == (1, 4)
    assert regions(prefix) == []
    assert grpc_infer(shared_server.grpc_url, "Seg-S.v1", canary_image()).shape == (1, 4)


def test_a_port_in_use_is_named_with_its_flag(shared_server: Server, repository: Repository) -> None:
    repository.segmenter("a")
    with pytest.raises(ToolError, match=rf"port {port(shared_server.grpc_url)} is in use .*--grpc-port"):
        serve(repository.path, grpc_port=port(shared_server.grpc_url))


def test_only_the_wanted_models_and_their_steps_are_served(repository: Repository) -> None:
    repository.segmenter("wanted.core")
    repository.ensemble("wanted", step="wanted.core")
    broken = repository.segmenter("broken")
    (broken / "config.pbtxt").write_text("max_batch_size: many")
    with serve(repository.path, models=["wanted"]) as server:
        assert server.models == ("wanted",)


def test_a_chosen_port_that_is_taken_meanwhile_is_replaced(
    repository: Repository, monkeypatch: pytest.MonkeyPatch, shared_server: Server, grpc_infer: Any
) -> None:
    from maskserve_tools.embedded import ports

    repository.segmenter("a")
    choose = ports.choose_ports
    free = choose("127.0.0.1", http=0, grpc=0, metrics=0)
    answers = [ports.Ports(port(shared_server.http_url), free.grpc, free.metrics)]
    monkeypatch.setattr(ports, "choose_ports", lambda *a, **k: answers.pop() if answers else choose(*a, **k))
    with serve(repository.path) as server:
        assert server.http_url != shared_server.http_url
        assert grpc_infer(server.grpc_url, "a", canary_image()).shape == (1, 4)


def test_the_canary_notices_a_dead_stub(repository: Repository) -> None:
    repository.segmenter("a")
    with serve(repository.path, restart=False) as server:
        [entry] = read_repository(repository.path)
        endpoint = HttpEndpoint("127.0.0.1", port(server.http_url))
        send_test_image(endpoint, entry, timeout=30)
        [stub] = [int(p.name) for p in Path("/proc").iterdir() if p.name.isdigit() and is_stub_of(p, server.pid)]
        os.kill(stub, signal.SIGKILL)
        with pytest.raises(ToolError, match=r"a fails at a test image: .*not healthy"):
            send_test_image(endpoint, entry, timeout=30)


def is_stub_of(process: Path, server: int) -> bool:
    try:
        return f"PPid:\t{server}\n" in (process / "status").read_text()
    except OSError:
        return False


def test_an_interface_to_the_outside_is_bound_on_demand(repository: Repository) -> None:
    repository.segmenter("a")
    with serve(repository.path, host="0.0.0.0") as server:
        assert server.http_url.startswith("http://127.0.0.1:")
        with socket.socket() as other, pytest.raises(OSError, match="in use"):
            other.bind(("0.0.0.0", port(server.http_url)))
