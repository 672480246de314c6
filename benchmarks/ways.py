"""The ways to ask one model, from its bare core to the REST service, for benchmarks that let them take turns."""

from __future__ import annotations

import base64
import http.client
import json
import statistics
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np

from maskserve import contract, create_pipeline
from maskserve.decoding.decoders import OwnProcess
from maskserve_local.cpus import thread_count
from maskserve_local.sources import open_source
from maskserve_server.stages import Core, Inputs, Postprocess, Preprocess
from maskserve_tools import serve
from maskserve_tools.embedded import ports
from maskserve_tools.embedded.rest_service import GatewayProcess
from maskserve_tools.tune.load import Turn, take_turn

Ask = Callable[[bytes], object]
BARE, BARE_PER_CPU, STAGES, IN_PROCESS, SINGLE, PER_CPU, ENSEMBLE, REST = (
    "bare core",
    "bare core, a run on each CPU",
    "stages in a loop",
    "in the process",
    "embedded, single",
    "embedded, single, an instance for each CPU",
    "embedded, ensemble",
    "REST, single",
)


def inputs(image: bytes) -> Inputs:
    """Return what the first stage reads."""
    encoded = np.empty(1, np.object_)
    encoded[0] = image
    return {contract.IMAGE: encoded, contract.THRESHOLD: None, contract.CLASS_IDS: None}


def prepared(entry: Path, image: bytes) -> Inputs:
    """Return what the core reads of an image, and what its request asks for."""
    spec = open_source(entry).spec
    return {**inputs(image), **Preprocess(spec, OwnProcess(spec.limits))(inputs(image))}


def bare_core(entry: Path, image: bytes, *, threads: int | None = None, streams: int = 1) -> Ask:
    """Return calls of the core alone, on the prepared image; each caller has outputs of its own.

    Args:
        entry: the model.
        image: the image.
        threads: of one run; None for all CPUs.
        streams: how many runs are computed side by side.
    """
    source, arrays = open_source(entry), prepared(entry, image)
    engine = source.load(thread_count() if threads is None else threads, streams)
    first, own = Core.on(source.spec, engine), threading.local()

    def ask(_: bytes) -> object:
        if not hasattr(own, "core"):
            own.core = first.twin()
        return own.core(arrays)

    return ask


def stages(entry: Path) -> Ask:
    """Return calls of the three stages, one after the other, in the thread that calls."""
    source = open_source(entry)
    preprocess = Preprocess(source.spec, OwnProcess(source.spec.limits))
    postprocess = Postprocess(source.spec)
    first, own = Core.on(source.spec, source.load(thread_count())), threading.local()

    def ask(image: bytes) -> object:
        if not hasattr(own, "core"):
            own.core = first.twin()
        prepared = {**inputs(image), **preprocess(inputs(image))}
        return postprocess({**prepared, **own.core(prepared)})

    return ask


def rest(url: str) -> Ask:
    """Return requests to the REST service; each caller keeps its connection."""
    own = threading.local()

    def ask(image: bytes) -> object:
        if not hasattr(own, "connection"):
            own.connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=600)
        body = json.dumps({"image": base64.b64encode(image).decode("ascii"), "visualize": False})
        own.connection.request("POST", "/instance-segmentation", body, {"Content-Type": "application/json"})
        response = own.connection.getresponse()
        content = response.read()
        if response.status != http.client.OK:
            raise SystemExit(f"the service answered {response.status}: {content[:500]!r}")
        return content

    return ask


class Served:
    """Embedded servers with the layouts of a model, and the REST service; a context manager.

    Args:
        repository: where the entries are.
        single: the name of the model with the layout "single".
        ensemble: likewise; None leaves it out.
        per_cpu: the name of a model with the layout "single" that has an instance for each CPU.
        with_rest: whether the REST service runs, too.
    """

    def __init__(
        self,
        repository: Path,
        single: str | None = None,
        ensemble: str | None = None,
        per_cpu: str | None = None,
        *,
        with_rest: bool = False,
    ) -> None:
        self._repository, self._with_rest = repository, with_rest
        self._names = {SINGLE: single, PER_CPU: per_cpu, ENSEMBLE: ensemble}
        self._stack = ExitStack()

    def __enter__(self) -> dict[str, Ask]:
        asks: dict[str, Ask] = {}
        for way, name in self._names.items():
            if name is None:
                continue
            instances = thread_count() if way == PER_CPU else None
            server = self._stack.enter_context(
                serve(self._repository, models=[name], ready_timeout=600, instances=instances)
            )
            pipeline = self._stack.enter_context(create_pipeline(name, url=server.grpc_url, timeout=600))
            asks[way] = pipeline.segment
            if self._with_rest and way == SINGLE:
                port = ports.choose_ports("127.0.0.1", http=0, grpc=0, metrics=0).http
                gateway = GatewayProcess(server.name, server.grpc_url, name, host="127.0.0.1", port=port)
                self._stack.enter_context(gateway)
                asks[REST] = _once_it_answers(f"http://127.0.0.1:{port}")
        return asks

    def __exit__(self, *error: object) -> None:
        self._stack.close()


def _once_it_answers(url: str) -> Ask:
    import time

    end = time.monotonic() + 60
    while True:
        try:
            connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=60)
            connection.request("GET", "/health")
            connection.getresponse().read()
            return rest(url)
        except OSError:
            if time.monotonic() > end:
                raise
            time.sleep(0.2)


Found = dict[tuple[str, int], list[Turn]]


def in_turns(
    asks: Mapping[str, Ask], images: Sequence[bytes], *, callers: Sequence[int], seconds: float, turns: int
) -> Found:
    """Let all ways take turns, each for every number of callers."""
    found: Found = {}
    for ask in asks.values():
        ask(images[0])
    for turn in range(turns):
        order = list(asks.items())
        for count in callers:
            for name, ask in order if turn % 2 == 0 else order[::-1]:
                found.setdefault((name, count), []).append(take_turn(ask, images, clients=count, seconds=seconds))
    return found


def rate(found: Found, way: str, callers: int) -> float:
    """Return the median of a way's rates, in images a second."""
    return statistics.median(turn.rate for turn in found[way, callers])


def best_ratio(found: Found, way: str, reference: str, callers: Sequence[int]) -> float:
    """Return a way's rate at its best number of callers, as a share of the reference's at its best, turn by turn."""
    turns = len(found[way, callers[0]])

    def best(name: str, turn: int) -> float:
        return max(found[name, count][turn].rate for count in callers)

    return statistics.median(best(way, turn) / best(reference, turn) for turn in range(turns))
