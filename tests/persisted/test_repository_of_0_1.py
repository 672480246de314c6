"""A repository that an earlier version converted still loads, and answers as it did then."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from maskserve import InstanceSegResult, Mask, create_pipeline
from maskserve_tools.doctor.examination import examine_repository
from maskserve_tools.doctor.finding import Level
from maskserve_tools.doctor.read_entries import read_entries

if TYPE_CHECKING:
    from maskserve_tools.embedded import Server

HERE = Path(__file__).parent
ANSWERS: dict[str, list[dict[str, Any]]] = json.loads((HERE / "answers_0.1.json").read_text("utf-8"))
THRESHOLD = 0.4


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    copy = tmp_path_factory.mktemp("persisted") / "repository"
    return Path(shutil.copytree(HERE / "repository_0.1", copy))


@pytest.fixture(scope="module")
def old_server(repository: Path) -> Iterator[Server]:
    pytest.importorskip("pytriton", reason="the embedded server needs nvidia-pytriton", exc_type=ImportError)
    pytest.importorskip("openvino", exc_type=ImportError)
    from maskserve_tools import serve

    with serve(repository) as running:
        yield running


def assert_as_then(result: Any, model: str) -> None:
    """The same instances in the same order; another CPU may round the last digits differently."""
    assert isinstance(result, InstanceSegResult), result
    then, now = ANSWERS[model], list(result.instances)
    assert [instance.label for instance in now] == [instance["label"] for instance in then]
    np.testing.assert_allclose([i.score for i in now], [i["score"] for i in then], atol=1e-4)
    np.testing.assert_allclose([i.box for i in now], [i["box"] for i in then], atol=0.05)
    for instance, recorded in zip(now, then, strict=True):
        mask = Mask.from_coco(recorded["mask"])
        assert (instance.mask ^ mask).area <= 0.01 * (instance.mask | mask).area


def test_every_family_and_both_layouts_are_there(repository: Path) -> None:
    assert {model: len(answers) for model, answers in ANSWERS.items()} == {
        "mask-rt-detr": 40, "pp-yoloe-seg": 30, "solov2": 14, "mask-rcnn": 29, "cascade": 19,
    }  # fmt: skip
    layouts = {model: (repository / f"{model}.core").is_dir() for model in ANSWERS}
    assert set(layouts.values()) == {True, False}


@pytest.mark.parametrize("model", ANSWERS)
def test_it_answers_as_then_on_a_server(model: str, old_server: Server) -> None:
    pipeline = create_pipeline(model, url=old_server.grpc_url)
    (result,) = pipeline.predict(HERE / "image.png", threshold=THRESHOLD)
    assert_as_then(result, model)


@pytest.mark.parametrize("model", ANSWERS)
def test_it_answers_as_then_in_this_process(model: str, repository: Path) -> None:
    pytest.importorskip("openvino", exc_type=ImportError)
    pytest.importorskip("onnxruntime", exc_type=ImportError)
    pipeline = create_pipeline(str(repository / model))
    (result,) = pipeline.predict(HERE / "image.png", threshold=THRESHOLD)
    assert_as_then(result, model)


def test_doctor_finds_no_problem_in_it(repository: Path) -> None:
    findings = examine_repository(read_entries(repository)).findings
    assert len(findings) > 5
    assert [finding for finding in findings if finding.level is Level.PROBLEM] == []
