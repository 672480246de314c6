"""The figures of the served models, as a real server shows them."""

from __future__ import annotations

import base64
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from maskserve import create_pipeline
from maskserve.errors import InvalidImage, InvalidParameter, UnsupportedFormat
from maskserve_server import metrics
from maskserve_server.metrics import Metrics
from tests.conftest import DEMO
from tests.docker.scraping import scrape

if TYPE_CHECKING:
    from maskserve_tools.embedded import Server

MODELS = (DEMO, f"{DEMO}-single")
# A request that has its turn at once waits, too, if only briefly.
QUEUE = (metrics.QUEUED, metrics.QUEUED_SECONDS)
CODES = (
    "invalid_image",
    "unsupported_format",
    "image_too_large",
    "invalid_parameter",
    "inference_failed",
    "server_overloaded",
    "timeout",
)


def figures(server: Server, model: str) -> dict[str, float]:
    """The figures of one model; errors are by their code."""
    found = {}
    for (name, labels), value in scrape(server.metrics_url).items():
        by_name = dict(labels)
        if name.startswith("maskserve_") and name not in QUEUE and by_name.pop("model") == model:
            bucket = f"{float(by_name['le']):g}" if "le" in by_name else ""
            found[by_name.get("code") or name + bucket] = value
    return found


def change(before: Mapping[str, float], after: Mapping[str, float]) -> dict[str, float]:
    return {name: value - before[name] for name, value in after.items() if value != before[name]}


@pytest.fixture(params=MODELS)
def model(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def test_every_series_is_there_before_anything_happens(server: Server, model: str) -> None:
    there = figures(server, model)
    assert set(CODES) <= set(there)
    assert {metrics.IMAGES, metrics.INSTANCES, metrics.MASK_BYTES} <= set(there)


def test_an_answer_counts_its_instances_and_masks(server: Server, model: str, two_people: Path) -> None:
    pipeline = create_pipeline(model, url=server.grpc_url)
    before, other = figures(server, model), figures(server, next(name for name in MODELS if name != model))
    (result,) = pipeline.predict(str(two_people))
    (nothing,) = pipeline.predict(str(two_people), threshold=0.999999)
    found = len(result["boxes"])
    assert found >= 2
    assert len(nothing["boxes"]) == 0
    changed = change(before, figures(server, model))
    mask_bytes = changed.pop(metrics.MASK_BYTES)
    assert found < mask_bytes < 10_000 * found
    name = metrics.INSTANCES_PER_IMAGE
    assert changed.pop(metrics.IMAGES) == changed.pop(metrics.RUNS) == 2
    assert changed.pop(metrics.INSTANCES) == found
    assert (changed.pop(f"{name}_count"), changed.pop(f"{name}_sum")) == (2, found)
    assert changed.pop(f"{name}_bucket0") == 1
    assert set(changed.values()) == {1.0, 2.0}  # the buckets below `found`, and those from there on
    assert figures(server, next(name for name in MODELS if name != model)) == other


BAD: dict[str, tuple[bytes, type[Exception], str]] = {
    "damaged": (b"\xff\xd8\xff\xe0 and no more", InvalidImage, "invalid_image"),
    "gif": (base64.b64decode("R0lGODlhAQABAAAAACwAAAAAAQABAAA7"), UnsupportedFormat, "unsupported_format"),
}


@pytest.mark.parametrize("case", list(BAD))
def test_what_cannot_be_decoded_is_counted_by_its_code(
    server: Server, model: str, case: str, send: Callable[..., None]
) -> None:
    content, kind, code = BAD[case]
    before = figures(server, model)
    with pytest.raises(kind):
        send(server, model, content)
    assert change(before, figures(server, model)) == {code: 1.0}


def test_a_bad_parameter_is_counted_once(
    server: Server, model: str, two_people: Path, send: Callable[..., None]
) -> None:
    before = figures(server, model)
    with pytest.raises(InvalidParameter):
        send(server, model, two_people.read_bytes(), class_ids=[4711])
    assert change(before, figures(server, model)) == {"invalid_parameter": 1.0}


@pytest.fixture
def send() -> Callable[..., None]:
    """Sends bytes as they are, past the checks of the client."""
    import numpy as np
    from tritonclient import grpc
    from tritonclient.utils import InferenceServerException

    from maskserve import contract
    from maskserve.errors import from_wire

    def send(server: Server, model: str, content: bytes, class_ids: list[int] | None = None) -> None:
        image = grpc.InferInput(contract.IMAGE, [1], "BYTES")
        image.set_data_from_numpy(np.array([content], np.object_))
        inputs = [image]
        if class_ids is not None:
            inputs.append(grpc.InferInput(contract.CLASS_IDS, [len(class_ids)], "INT32"))
            inputs[-1].set_data_from_numpy(np.array(class_ids, np.int32))
        with grpc.InferenceServerClient(server.grpc_url.removeprefix("grpc://")) as client:
            try:
                client.infer(model, inputs, client_timeout=30)
            except InferenceServerException as error:
                raise from_wire(str(error)) or error from None

    return send


class Log:
    def __init__(self) -> None:
        self.lines: list[str] = []

    def log_warn(self, line: str) -> None:
        self.lines.append(line)


class WithoutMetrics:
    """A backend whose server keeps no metrics."""

    def __init__(self) -> None:
        self.Logger = Log()

    def MetricFamily(self, **_: Any) -> Any:
        raise RuntimeError("metrics are disabled")


def test_where_no_figures_can_be_kept_serving_goes_on() -> None:
    backend = WithoutMetrics()
    figures = Metrics(backend, "model")
    figures.answered({"MASKS": np.array([b"abc"], np.object_)})
    figures.failed("invalid_image")
    assert len(backend.Logger.lines) == 1
    assert "model" in backend.Logger.lines[0]


class OneAtATime:
    """A backend whose figures note when a thread comes in before another one has left.

    Triton's own give Python's lock away meanwhile, and the server dies.
    """

    def __init__(self) -> None:
        self.Logger = Log()
        self.inside, self.met = 0, 0

    def MetricFamily(self, **_: Any) -> Any:
        return self

    MetricFamily.HISTOGRAM = MetricFamily.GAUGE = MetricFamily.COUNTER = 0  # type: ignore[attr-defined]

    def Metric(self, **_: Any) -> Any:
        return self

    def increment(self, _: float) -> None:
        self.inside += 1
        self.met += self.inside > 1
        time.sleep(0.001)
        self.inside -= 1

    observe = set = increment


def test_threads_that_count_wait_for_one_another() -> None:
    backend = OneAtATime()
    figures = Metrics(backend, "model")
    masks = {"MASKS": np.array([b"abc"], np.object_)}
    actions: list[Callable[[], None]] = [
        lambda: figures.answered(masks),
        lambda: figures.failed("invalid_image"),
        lambda: figures.failed("a code that is new"),
        lambda: figures.waited(0.1),
        lambda: figures.queued(1),
        figures.ran,
    ]
    with ThreadPoolExecutor(len(actions)) as pool:
        for done in [pool.submit(action) for action in 5 * actions]:
            done.result()
    assert not backend.met
    assert not backend.Logger.lines
