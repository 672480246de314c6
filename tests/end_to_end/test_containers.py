"""The ensembles made for Triton's containers, on the embedded server.

It has no C++ backend: a model in Python stands in for the core, with its configuration but for the name of the backend,
its accelerators, its device and its number of instances. Triton itself then validates the ensemble and the warm-up,
puts requests together and takes the answers apart, as it will in the container.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np
import pytest
from google.protobuf import text_format
from tritonclient.grpc import model_config_pb2 as schema

from maskserve import create_pipeline
from maskserve.errors import InvalidParameter
from maskserve.instances import Instances

if TYPE_CHECKING:
    from maskserve_tools.embedded import Server

MODELS = ("cpu", "gpu")
RCNN = "rcnn"


def _put_stand_in(entry: Path) -> None:
    path = entry / "config.pbtxt"
    config = text_format.Parse(path.read_text(), schema.ModelConfig())
    config.backend = "python"
    config.ClearField("default_model_filename")
    config.ClearField("optimization")
    config.parameters["seen"].string_value = str(_seen(entry))
    for group in config.instance_group:
        group.count, group.kind = 1, schema.ModelInstanceGroup.KIND_CPU
    path.write_text(text_format.MessageToString(config))
    shutil.copy(Path(__file__).with_name("stand_in.py"), entry / "1" / "model.py")


def _seen(entry: Path) -> Path:
    """Where a stand-in writes; not into its own folder, which the server has a copy of."""
    return entry.parent.parent / f"seen.{entry.name}.txt"


@pytest.fixture(scope="module")
def repository(demo_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    for module in ("paddle2onnx", "openvino", "onnxruntime", "pytriton"):
        pytest.importorskip(module, reason=f"converting and serving need {module}", exc_type=ImportError)
    from maskserve_tools import convert

    root = tmp_path_factory.mktemp("containers") / "models"
    for name in MODELS:
        convert(demo_model, repository=root, name=name, target=f"container-{name}")
        _put_stand_in(root / f"{name}.core")
    convert(demo_model, repository=root, name="embedded", engine="onnxruntime")
    return root


@pytest.fixture(scope="module")
def containers(repository: Path) -> Iterator[Server]:
    from maskserve_tools import serve

    # No supervisor: its test images would be among the runs that are counted.
    with serve(repository, restart=False) as running:
        yield running


@pytest.fixture(scope="module")
def images(two_people: Path) -> list[np.ndarray]:
    """Eight different ones, of different sizes."""
    folder = Path(__file__).parents[2] / "demo" / "photos"
    images = [cv2.imread(str(path)) for path in (*sorted(folder.glob("*.jpg")), two_people)]
    halves = [cv2.resize(image[:, ::-1], None, fx=0.5, fy=0.5) for image in images]
    return [*images, *halves]


class _Seen:
    """The sizes of the batches that a stand-in has had since it was last asked."""

    def __init__(self, path: Path) -> None:
        self._path, self._known = path, 0
        self.new()  # the image that the server was tested with when it started

    def new(self) -> list[int]:
        lines = self._path.read_text().split()
        added, self._known = lines[self._known :], len(lines)
        return [int(line) for line in added]


def _ask(server: Server, model: str, image: np.ndarray, threshold: float | None = None) -> Instances:
    with create_pipeline(model, url=server.grpc_url) as pipeline:
        (result,) = pipeline.predict(image, threshold=threshold)
    return result.instances


def _check_equal(found: Instances, expected: Instances) -> None:
    assert found.image_size == expected.image_size
    assert found.labels == expected.labels
    np.testing.assert_allclose(found.scores, expected.scores, atol=1e-4)
    np.testing.assert_allclose(found.boxes_xyxy, expected.boxes_xyxy, atol=1e-2)
    for ours, theirs in zip(found.masks, expected.masks, strict=True):
        assert np.count_nonzero(ours.decode() != theirs.decode()) <= 2  # pixels on the very edge


@pytest.mark.parametrize("model", MODELS)
def test_requests_that_triton_puts_together_are_answered_one_by_one(
    model: str, containers: Server, repository: Path, images: list[np.ndarray]
) -> None:
    expected = [_ask(containers, "embedded", image) for image in images]
    assert sum(map(len, expected)) >= len(images)
    seen = _Seen(_seen(repository / f"{model}.core"))
    single = [_ask(containers, model, image) for image in images[:2]]
    assert seen.new() == [1, 1]
    with ThreadPoolExecutor(len(images)) as pool:
        together = list(pool.map(lambda image: _ask(containers, model, image), images))
    batches = seen.new()
    assert sum(batches) == len(images)
    if model == "gpu":
        assert max(batches) > 1, "Triton put no requests together"
    else:
        assert max(batches) == 1, "on a CPU a batch takes memory and saves no time"
    for found, wanted in zip([*single, *together], [*expected[:2], *expected], strict=True):
        _check_equal(found, wanted)


def test_a_core_in_another_backend_gets_the_requests_threshold(
    paddle_model: Callable[[str], Path], tmp_path: Path, images: list[np.ndarray]
) -> None:
    from maskserve_tools import convert, serve

    source = paddle_model("tiny-MaskRCNN-320")
    convert(source, repository=tmp_path, name=RCNN, target="container-gpu")
    _put_stand_in(tmp_path / f"{RCNN}.core")
    convert(source, repository=tmp_path, name="embedded", engine="onnxruntime")
    with serve(tmp_path) as server:
        for threshold in (None, 0.3, 0.9):
            found, wanted = (_ask(server, model, images[0], threshold) for model in (RCNN, "embedded"))
            _check_equal(found, wanted)
        with pytest.raises(InvalidParameter):
            _ask(server, RCNN, images[0], float("nan"))


def test_the_embedded_server_refuses_a_core_of_another_backend(demo_model: Path, tmp_path: Path) -> None:
    pytest.importorskip("pytriton", reason="the embedded server needs nvidia-pytriton", exc_type=ImportError)
    pytest.importorskip("paddle2onnx", reason="converting needs the convert extra", exc_type=ImportError)
    from maskserve.errors import ToolError
    from maskserve_tools import convert, serve

    convert(demo_model, repository=tmp_path, name="people", target="container-cpu")
    with pytest.raises(ToolError, match=r"people\.core needs Triton's onnxruntime backend.*--target embedded"):
        serve(tmp_path)
