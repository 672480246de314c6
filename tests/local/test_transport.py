"""The transport to a model in this process, around a core of a few lines."""

from __future__ import annotations

import gc
import logging
import os
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import cv2
import numpy as np
import pytest

from maskserve import contract
from maskserve.errors import (
    InferenceFailed,
    InvalidImage,
    InvalidParameter,
    ModelNotFound,
    RequestTimeout,
    ServerUnavailable,
    ToolError,
)
from maskserve.pipeline import Pipeline
from maskserve.transport.cancellation import CalledOff, Cancellation
from maskserve.transport.wire import ImageRequest, read_answer
from maskserve_local.sources import Source, open_source
from maskserve_local.transport import InProcessTransport
from maskserve_server.spec import ModelSpec
from tests.local.conftest import FakeEngine


def image(blue: int = 255, size: tuple[int, int] = (32, 32)) -> bytes:
    pixels = np.zeros((*size, 3), np.uint8)
    pixels[..., 0] = blue
    encoded: bytes = cv2.imencode(".png", pixels)[1].tobytes()
    return encoded


def scores(answer: Sequence[Any]) -> list[float]:
    found: list[float] = read_answer(answer, ("person", "car")).scores.tolist()
    return found


def test_an_image_is_answered_in_the_contracts_tensors(source: Source) -> None:
    answer = InProcessTransport(source).infer("fake", ImageRequest(image(size=(20, 30))))
    assert [tensor.name for tensor in answer] == list(contract.OUTPUTS)
    instances = read_answer(answer, ("person", "car"))
    assert instances.labels == ("car",)
    assert instances.image_size == (20, 30)
    assert instances.masks[0].area > 0


def test_the_run_lengths_of_its_own_answer_are_not_read_again(source: Source, monkeypatch: pytest.MonkeyPatch) -> None:
    answer = InProcessTransport(source).infer("fake", ImageRequest(image(size=(20, 30))))
    checked = read_answer(list(answer), ())
    monkeypatch.setattr("maskserve.transport.wire.check_counts", lambda *_: pytest.fail("they were read"))
    own = read_answer(answer, ())
    assert [(mask.counts, mask.box, mask.size) for mask in own.masks] == [
        (mask.counts, mask.box, mask.size) for mask in checked.masks
    ]
    assert len(own.masks) == 1


def test_threshold_and_classes_count(source: Source) -> None:
    transport = InProcessTransport(source)
    grey = image(100)
    assert scores(transport.infer("fake", ImageRequest(grey))) == []
    assert scores(transport.infer("fake", ImageRequest(grey, threshold=0.3))) == [pytest.approx(100 / 255)]
    assert scores(transport.infer("fake", ImageRequest(image(), class_ids=(0,)))) == []
    assert len(scores(transport.infer("fake", ImageRequest(image(), class_ids=(0, 1))))) == 1
    with pytest.raises(InvalidParameter, match="class ids"):
        transport.infer("fake", ImageRequest(image(), class_ids=(2,)))


def test_a_bad_image_is_no_trouble_for_the_next(source: Source) -> None:
    transport = InProcessTransport(source)
    with pytest.raises(InvalidImage):
        transport.infer("fake", ImageRequest(b"no image"))
    assert len(scores(transport.infer("fake", ImageRequest(image())))) == 1


def test_what_a_core_raises_is_said_and_logged(
    source: Source, engine: FakeEngine, caplog: pytest.LogCaptureFixture
) -> None:
    transport = InProcessTransport(source)
    engine.error = ZeroDivisionError("by zero")
    with caplog.at_level(logging.ERROR), pytest.raises(InferenceFailed, match="ZeroDivisionError: by zero"):
        transport.infer("fake", ImageRequest(image()))
    assert "Traceback" in caplog.text
    engine.error = None
    assert len(scores(transport.infer("fake", ImageRequest(image())))) == 1


def test_another_model_is_not_there(source: Source) -> None:
    transport = InProcessTransport(source)
    for ask in (lambda: transport.infer("other", ImageRequest(image())), lambda: transport.model_config("other")):
        with pytest.raises(ModelNotFound, match="no model 'other', it has 'fake'"):
            ask()


def test_a_pipeline_learns_the_labels(source: Source) -> None:
    pipeline = Pipeline("instance_segmentation", InProcessTransport(source))
    assert (pipeline.model, pipeline.labels, pipeline.url) == ("fake", ("person", "car"), "local:fake")


def test_what_it_says_of_itself(source: Source) -> None:
    transport = InProcessTransport(source)
    assert [(model.name, model.state) for model in transport.models()] == [("fake", "READY")]
    assert transport.status().ready
    transport.close()
    assert not transport.status().ready


def test_a_closed_one_answers_no_more(source: Source) -> None:
    pipeline = Pipeline("fake", InProcessTransport(source), retries=0)
    pipeline.close()
    pipeline.close()
    with pytest.raises(ServerUnavailable, match="the pipeline was closed"):
        pipeline.segment(image())


def test_a_request_that_was_called_off_is_not_computed(source: Source, engine: FakeEngine) -> None:
    cancellation = Cancellation()
    cancellation.call_off()
    with pytest.raises(CalledOff):
        InProcessTransport(source).infer("fake", ImageRequest(image(), cancellation=cancellation))
    assert engine.runs == []


def test_time_runs_out_while_others_have_the_cores(source: Source, engine: FakeEngine) -> None:
    transport = InProcessTransport(source, timeout=0.2)
    patient = InProcessTransport.__new__(InProcessTransport)
    patient.__dict__.update(transport.__dict__, _timeout=60.0)
    engine.hold.clear()
    with ThreadPoolExecutor(2) as pool:
        others = [pool.submit(patient.infer, "fake", ImageRequest(image())) for _ in range(2)]
        while engine.twins < 2:
            assert engine.started.wait(30)
        with pytest.raises(RequestTimeout, match="raise timeout="):
            transport.infer("fake", ImageRequest(image()))
        engine.hold.set()
        assert [len(scores(other.result())) for other in others] == [1, 1]
    assert len(engine.runs) == 2


def test_threads_get_their_own_answers(source: Source) -> None:
    transport = InProcessTransport(source)

    def ask(blue: int) -> list[float]:
        return scores(transport.infer("fake", ImageRequest(image(blue), threshold=0.0)))

    blues = list(range(1, 200, 3))
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(ask, blues))
    assert answers == [[pytest.approx(blue / 255)] for blue in blues]


def test_the_callers_opencv_keeps_its_threads(source: Source) -> None:
    before = cv2.getNumThreads()
    InProcessTransport(source)
    assert cv2.getNumThreads() == before


def test_a_forked_child_loads_the_model_again(spec: ModelSpec, engine: FakeEngine) -> None:
    loads: list[int] = []

    def load(threads: int, streams: int = 1) -> FakeEngine:
        loads.append(os.getpid())
        return engine

    transport = InProcessTransport(Source(spec, load))
    child = os.fork()
    if child == 0:
        answered = len(scores(transport.infer("fake", ImageRequest(image())))) == 1
        os._exit(0 if answered and loads[1:] == [os.getpid()] else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert loads == [os.getpid()]
    assert threading.active_count() >= 1


class Deadly(FakeEngine):
    """As OpenVINO: to be freed, it waits for its threads, which a forked child does not have."""

    def __init__(self) -> None:
        super().__init__()
        self._here = os.getpid()

    def __del__(self) -> None:
        if os.getpid() != self._here:
            os._exit(9)


@pytest.mark.parametrize("used", [False, True])
def test_a_forked_child_never_frees_what_its_parent_loaded(spec: ModelSpec, used: bool) -> None:
    transport = InProcessTransport(Source(spec, lambda threads, streams=1: Deadly()))
    child = os.fork()
    if child == 0:
        answered = not used or len(scores(transport.infer("fake", ImageRequest(image())))) == 1
        transport.close()
        gc.collect()
        os._exit(0 if answered else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


@pytest.mark.parametrize("raised", [ImportError("No module named 'openvino'"), RuntimeError("bad model")])
def test_a_core_that_does_not_load_says_why(raised: Exception, tmp_path: Any, spec: ModelSpec) -> None:
    (tmp_path / "1").mkdir()
    (tmp_path / "config.pbtxt").touch()
    (tmp_path / "1" / "model.json").write_text(spec.to_json())
    (tmp_path / "1" / "core.onnx").write_bytes(b"no model")
    source = open_source(tmp_path)
    with pytest.MonkeyPatch.context() as patch:

        def load_engine(*_: Any, **__: Any) -> None:
            raise raised

        patch.setattr("maskserve_local.sources.load_engine", load_engine)
        fix = r'pip install "maskserve\[local\]"' if isinstance(raised, ImportError) else "core of fake: bad model"
        with pytest.raises(ToolError, match=fix):
            InProcessTransport(source)


def test_an_entry_without_a_core_is_named(tmp_path: Any, spec: ModelSpec) -> None:
    (tmp_path / "people" / "1").mkdir(parents=True)
    with pytest.raises(ToolError, match="server=True"):
        open_source(tmp_path / "people")
    (tmp_path / "people" / "1" / "model.json").write_text(spec.to_json())
    with pytest.raises(ToolError, match=r"core\.onnx is missing"):
        open_source(tmp_path / "people")
