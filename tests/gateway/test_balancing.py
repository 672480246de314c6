"""Several servers as one."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from maskserve.errors import InferenceFailed, MaskserveError, ModelNotFound, RequestTimeout, ServerUnavailable
from maskserve.transport.wire import ImageRequest, Tensor
from maskserve_gateway.balancing import BalancedTransport
from tests.client.conftest import FakeTransport

REQUEST = ImageRequest(b"image")


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def servers() -> list[FakeTransport]:
    made = [FakeTransport() for _ in range(3)]
    for server in made:
        server.respond = lambda _: []
    return made


def failing(server: FakeTransport, error: MaskserveError) -> None:
    def fail(_: ImageRequest) -> list[Tensor]:
        raise error

    server.respond = fail


def counts(servers: list[FakeTransport]) -> list[int]:
    return [len(server.requests) for server in servers]


def test_requests_are_spread(servers: list[FakeTransport]) -> None:
    balanced = BalancedTransport(servers)
    for _ in range(9):
        balanced.infer("tiny", REQUEST)
    assert counts(servers) == [3, 3, 3]


def test_a_busy_server_gets_none_while_others_are_free(servers: list[FakeTransport]) -> None:
    arrived, let_go = threading.Event(), threading.Event()

    def hold(_: ImageRequest) -> list[Tensor]:
        arrived.set()
        let_go.wait(20)
        return []

    servers[0].respond = hold
    balanced = BalancedTransport(servers)
    with ThreadPoolExecutor(1) as pool:
        held = pool.submit(balanced.infer, "tiny", REQUEST)
        assert arrived.wait(20)
        for _ in range(8):
            balanced.infer("tiny", REQUEST)
        let_go.set()
        held.result()
    assert counts(servers) == [1, 4, 4]


@pytest.mark.parametrize("error", [ServerUnavailable("gone"), ModelNotFound("not there yet")], ids=str)
def test_one_that_is_down_is_passed_over_until_it_is_back(servers: list[FakeTransport], error: MaskserveError) -> None:
    clock = Clock()
    failing(servers[0], error)
    balanced = BalancedTransport(servers, clock)
    for _ in range(9):
        assert balanced.infer("tiny", REQUEST) == []
    assert counts(servers) == [1, 5, 4]
    clock.now, servers[0].respond = 6, lambda _: []
    for _ in range(9):
        balanced.infer("tiny", REQUEST)
    assert counts(servers) == [7, 6, 6]


def test_all_of_them_down(servers: list[FakeTransport]) -> None:
    for number, server in enumerate(servers):
        failing(server, ServerUnavailable(f"gone {number}"))
    balanced = BalancedTransport(servers)
    with pytest.raises(ServerUnavailable, match="gone 0"):
        balanced.infer("tiny", REQUEST)
    servers[2].respond = lambda _: []
    assert balanced.infer("tiny", REQUEST) == []


@pytest.mark.parametrize("error", [RequestTimeout("late"), InferenceFailed("no")], ids=str)
def test_what_another_server_would_not_fix_is_not_sent_again(
    servers: list[FakeTransport], error: MaskserveError
) -> None:
    failing(servers[0], error)
    with pytest.raises(type(error)):
        BalancedTransport(servers).infer("tiny", REQUEST)
    assert counts(servers) == [1, 0, 0]


def test_closing_closes_them_all(servers: list[FakeTransport]) -> None:
    BalancedTransport(servers).close()
    assert all(server.closed for server in servers)
