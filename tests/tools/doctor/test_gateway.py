"""What doctor says of a gateway."""

from __future__ import annotations

import ipaddress
import json
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest

from maskserve_tools.doctor.finding import Level
from maskserve_tools.doctor.gateway_checks import ask_info, examine_gateway
from tests.client.conftest import FakeTransport

LOOPBACK, ANYWHERE = ipaddress.ip_address("127.0.0.1"), ipaddress.ip_address("0.0.0.0")
Listening = Callable[[int], list[Any]]


def says(key: bool | None) -> Callable[[str], dict[str, Any] | None]:
    return lambda _: None if key is None else {"model": "people", "apiKeyRequired": key}


@pytest.mark.parametrize(
    ("url", "key", "addresses", "levels"),
    [
        (None, False, [], []),
        (None, None, [ANYWHERE], []),  # another program
        (None, False, [LOOPBACK], ["ok", "ok"]),
        (None, False, [LOOPBACK, ANYWHERE], ["ok", "warning", "warning"]),
        (None, True, [ANYWHERE], ["ok", "ok", "warning"]),
        ("http://localhost:9000", False, [ANYWHERE], ["ok", "warning", "warning"]),
        ("http://gateway.example.org", False, [LOOPBACK], ["ok", "warning", "warning"]),
        ("https://gateway.example.org", True, [], ["ok", "ok"]),
        ("http://localhost:9000", None, [], ["unknown"]),
    ],
)
def test_what_is_found(url: str | None, key: bool | None, addresses: list[Any], levels: list[str]) -> None:
    findings = examine_gateway(url, says(key), lambda _: addresses)
    assert [finding.level.value for finding in findings] == levels


def test_an_api_key_is_recommended() -> None:
    finding = examine_gateway(None, says(False), lambda _: [ANYWHERE])[1]
    assert finding.level is Level.WARNING
    assert finding.what == "it listens on 0.0.0.0, and wants no API key"
    assert "MASKSERVE_API_KEY" in finding.fix


@pytest.fixture
def gateway() -> Iterator[str]:
    pytest.importorskip("uvicorn", reason="the gateway needs uvicorn")
    from maskserve_gateway.app import create_app
    from maskserve_gateway.settings import Settings
    from tests.gateway.conftest import listening

    settings = Settings(urls=("grpc://192.0.2.1:1",), model="tiny")
    with listening(create_app(settings, FakeTransport())) as url:
        yield url


def test_a_real_one(gateway: str) -> None:
    info = ask_info(gateway)
    assert info == json.loads(httpx.get(f"{gateway}/info", trust_env=False).content)
    assert ask_info(f"{gateway}/nothing") is None
    assert ask_info("http://127.0.0.1:9") is None
