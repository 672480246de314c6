"""Clients of `benchmarks.overload`: a process with some of them, which send one image after another.

Sixty-four threads of one process wait for each other, and a refusal would seem to take as long as that. So the clients
are spread over processes, each with its own interpreter. They are connected, and tell so, before any of them begins.
"""

from __future__ import annotations

import argparse
import base64
import http.client
import json
import sys
import threading
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import astuple, dataclass, replace
from pathlib import Path

from maskserve.errors import MaskserveError, ServerOverloaded
from maskserve.transport.connect import open_transport
from maskserve.transport.endpoint import parse_url
from maskserve.transport.wire import ImageRequest

MODEL = "people"
READY = "ready"
_IMAGE = (Path(__file__).parent.parent / "demo" / "photos" / "astronaut.jpg").read_bytes()

Send = Callable[[], float | None]
"""Sends one request and returns the seconds from its last byte to the answer's first, None where nobody sees them."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one request.

    Attributes:
        kind: "answered", "refused" or "failed".
        seconds: that it took, as its caller sees it.
        ended: when that was, in seconds after the clients began.
        wire: seconds from the last byte that was sent to the first that came back; None where that is not seen.
    """

    kind: str
    seconds: float
    ended: float
    wire: float | None = None


class Refused(Exception):
    """The server has too many requests.

    Attributes:
        seconds: after which to come back.
        wire: see `Outcome`.
    """

    def __init__(self, seconds: float, wire: float | None = None) -> None:
        super().__init__()
        self.seconds, self.wire = seconds, wire


def over_grpc(url: str, deadline: float) -> Send:
    """Return a client of Triton, which has a channel of its own."""
    transport = open_transport(replace(parse_url(url), timeout=deadline))
    transport.status()  # connects

    def send() -> None:
        try:
            transport.infer(MODEL, ImageRequest(_IMAGE))
        except ServerOverloaded as error:
            raise Refused(error.retry_after or 1.0) from None

    return send


def over_rest(url: str, deadline: float) -> Send:
    """Return a client of the gateway, which connects for each request."""
    body = json.dumps({"image": base64.b64encode(_IMAGE).decode(), "visualize": False}).encode()

    def send() -> float:
        with closing(http.client.HTTPConnection(url.removeprefix("http://"), timeout=deadline)) as connection:
            connection.request("POST", "/instance-segmentation", body)
            sent = time.monotonic()
            answer = connection.getresponse()
            wire = time.monotonic() - sent
            answer.read()
            if answer.status == http.client.SERVICE_UNAVAILABLE:
                raise Refused(float(answer.getheader("Retry-After") or 1.0), wire)
            if answer.status != http.client.OK:
                raise http.client.HTTPException(answer.status)
            return wire

    return send


def run(clients: list[Send], seconds: float) -> list[Outcome]:
    """Let clients send for a while, each on a thread of its own.

    Args:
        clients: who send.
        seconds: for how long they begin new requests.
    """
    outcomes: list[Outcome] = []
    start = time.monotonic()
    end = start + seconds

    def work(send: Send) -> None:
        while time.monotonic() < end:
            begun, pause, wire = time.monotonic(), 0.0, None
            try:
                wire, kind = send(), "answered"
            except Refused as refused:
                kind, pause, wire = "refused", refused.seconds, refused.wire
            except (MaskserveError, OSError, http.client.HTTPException):
                kind = "failed"
            now = time.monotonic()
            outcomes.append(Outcome(kind, now - begun, now - start, wire))
            time.sleep(max(min(pause, end - time.monotonic()), 0.0))

    threads = [threading.Thread(target=work, args=(send,)) for send in clients]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return outcomes


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("url", help="grpc:// is Triton, http:// the gateway")
    parser.add_argument("clients", type=int)
    parser.add_argument("seconds", type=float)
    parser.add_argument("deadline", type=float)
    arguments = parser.parse_args()
    open_client = over_grpc if arguments.url.startswith("grpc://") else over_rest
    clients = [open_client(arguments.url, arguments.deadline) for _ in range(arguments.clients)]
    print(READY, flush=True)
    sys.stdin.readline()
    print(json.dumps([astuple(outcome) for outcome in run(clients, arguments.seconds)]))


if __name__ == "__main__":
    main()
