"""Clients that ask one after the other without a pause, and what they measure."""

from __future__ import annotations

import base64
import http.client
import json
import statistics
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

PATH = "/instance-segmentation"
_PATIENCE = 600  # seconds: sixteen clients wait long for a service that answers one at a time


@dataclass(frozen=True, slots=True)
class Measurement:
    """What some clients saw.

    Attributes:
        answers: how many there were.
        rate: answers a second, over the whole time.
        p50: median seconds of an answer, without the first of each client, which met no queue.
        p95: likewise, the 95th percentile.
    """

    answers: int
    rate: float
    p50: float
    p95: float


def request_body(input_image: Path, *, visualize: bool) -> bytes:
    """Return what both services are asked."""
    image = base64.b64encode(input_image.read_bytes()).decode("ascii")
    return json.dumps({"image": image, "visualize": visualize}).encode()


class Client:
    """One connection, kept open."""

    def __init__(self, url: str) -> None:
        self._connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=_PATIENCE)

    def ask(self, body: bytes) -> bytes:
        """Return the answer, which must be a good one."""
        self._connection.request("POST", PATH, body, {"Content-Type": "application/json"})
        response = self._connection.getresponse()
        content = response.read()
        if response.status != http.client.OK:
            raise SystemExit(f"the service answered {response.status}: {content[:500]!r}")
        return content


def instances_of(url: str, body: bytes) -> list[dict[str, Any]]:
    """Return the instances in the answer to one request."""
    found: list[dict[str, Any]] = json.loads(Client(url).ask(body))["result"]["instances"]
    return found


def measure(url: str, body: bytes, *, clients: int, seconds: float) -> Measurement:
    """Let `clients` ask for `seconds`, and at least twice each."""
    begin = time.perf_counter()

    def one_client(_: int) -> list[float]:
        client, latencies = Client(url), list[float]()
        while (start := time.perf_counter()) < begin + seconds or len(latencies) < 2:
            client.ask(body)
            latencies.append(time.perf_counter() - start)
        return latencies

    with ThreadPoolExecutor(clients) as pool:
        seen = list(pool.map(one_client, range(clients)))
    elapsed = time.perf_counter() - begin
    answers = sum(len(latencies) for latencies in seen)
    later = [latency for latencies in seen for latency in latencies[1:]]
    p95 = statistics.quantiles(later, n=20, method="inclusive")[-1] if len(later) > 1 else later[0]
    return Measurement(answers, answers / elapsed, statistics.median(later), p95)
