"""The configurations as they stand in docker/, judged by the programs that read them."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import yaml

from tests.deployment.conftest import installed
from tests.deployment.proxies import ENVOY_YAML, HAPROXY_CFG, envoy_configuration, haproxy_configuration


def check(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_envoy_reads_its_configuration() -> None:
    check(installed("envoy"), "--mode", "validate", "-c", str(ENVOY_YAML))


def test_haproxy_reads_its_configuration() -> None:
    check(installed("haproxy"), "-c", "-f", str(HAPROXY_CFG))


def test_the_tests_exchange_nothing_but_addresses_of_envoy() -> None:
    file = yaml.safe_load(ENVOY_YAML.read_text(encoding="utf-8"))
    as_in_file = envoy_configuration({"grpc": [1, 2], "http": [3, 4]}, {"grpc": 5, "http": 6, "admin": 7})
    assert _without_addresses(as_in_file) == _without_addresses(file)


def _without_addresses(value: object) -> object:
    if isinstance(value, dict):
        return {key: None if key == "address" else _without_addresses(inner) for key, inner in value.items()}
    return [_without_addresses(inner) for inner in value] if isinstance(value, list) else value


def test_the_tests_exchange_nothing_but_addresses_of_haproxy() -> None:
    own = {"grpc": 8001, "http": 8000}
    edited = haproxy_configuration({"grpc": [8001] * 2, "http": [8000] * 2}, own, Path("/run/haproxy.sock"))
    edited = edited.replace("127.0.0.1:800", ":800")
    for letter, number in (("a", 0), ("b", 1)):
        edited = re.sub(rf"server s{number} :", f"server {letter} triton-{letter}:", edited)
    assert edited == HAPROXY_CFG.read_text(encoding="utf-8")


def test_envoy_s_own_interface_is_for_its_machine_only() -> None:
    admin = yaml.safe_load(ENVOY_YAML.read_text(encoding="utf-8"))["admin"]
    assert admin["address"]["socket_address"]["address"] == "127.0.0.1"


def test_both_proxies_stand_in_front_of_the_same_servers() -> None:
    configuration = yaml.safe_load(ENVOY_YAML.read_text(encoding="utf-8"))
    clusters = configuration["static_resources"]["clusters"]
    endpoints = [entry["endpoint"] for c in clusters for entry in c["load_assignment"]["endpoints"][0]["lb_endpoints"]]
    addresses = [endpoint["address"]["socket_address"] for endpoint in endpoints]
    named = re.findall(r"^    server \w+ (\S+):(\d+)", HAPROXY_CFG.read_text(encoding="utf-8"), re.M)
    assert sorted((address["address"], address["port_value"]) for address in addresses) == sorted(
        (name, int(port)) for name, port in named
    )
