"""R-CNN cores made from the tiny models, against Paddle Inference on the uncut ones."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest

from maskserve.masks import decode_crop
from maskserve_server.engines import load_engine
from maskserve_server.families import Selection, load_family
from maskserve_server.postprocess import Instances, postprocess
from maskserve_server.preprocess import Preprocessor
from maskserve_tools.converting.blueprint import Blueprint
from maskserve_tools.converting.cores import make_core
from maskserve_tools.converting.paddle_folder import PaddleFolder
from maskserve_tools.converting.program.pir import Program
from maskserve_tools.verifying.reference import Reference, ReferenceInstance, open_reference

for module in ("paddle2onnx", "openvino", "onnxruntime"):
    pytest.importorskip(module, reason=f"a core needs {module}", exc_type=ImportError)
pytestmark = pytest.mark.filterwarnings("ignore")  # Paddle's own, while it is imported

ENGINES = ("openvino", "onnxruntime", "paddle")
# The cascade's scores are low: its random weights were calibrated for nothing better.
THRESHOLDS = {"tiny-MaskRCNN-320": (0.5, 0.1), "tiny-Cascade-MaskRCNN-320": (0.3, 0.05)}

Answer = Callable[[np.ndarray, float], Instances]


def _blueprint(path: Path) -> Blueprint:
    folder = PaddleFolder.open(path)
    return Blueprint.draw(folder, "model", Program.read(folder.program))


def _answer(blueprint: Blueprint, engine: str, scratch: Path) -> Answer:
    core = make_core(blueprint, scratch, engine, "fp32", lambda line: None, exact=True)
    spec = blueprint.spec(core.engine)
    prepare, family = Preprocessor(spec.preprocess), load_family(spec.family, spec.settings)
    run = load_engine(spec.core, scratch, threads=1)

    def answer(image: np.ndarray, threshold: float) -> Instances:
        prepared = prepare(image)
        feeds = {
            "image": prepared.image,
            "im_shape": prepared.im_shape,
            "scale_factor": prepared.scale_factor,
            "threshold": np.array([[threshold]], np.float32),
        }
        outputs = run({name: feeds[name] for name in spec.core.inputs})
        return postprocess(family, outputs, prepared.scale_factor[0], prepared.size, Selection(threshold))

    return answer


@pytest.fixture(scope="module", params=THRESHOLDS)
def model(request: pytest.FixtureRequest) -> Iterator[str]:
    yield request.param


@pytest.fixture(scope="module")
def reference(model: str, paddle_model: Callable[[str], Path]) -> Reference:
    return open_reference(paddle_model(model))


@pytest.fixture(scope="module")
def cores(
    model: str, paddle_model: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Answer]:
    blueprint = _blueprint(paddle_model(model))
    scratch = tmp_path_factory.mktemp("core")
    return {engine: _answer(blueprint, engine, scratch) for engine in ENGINES}


@pytest.fixture(scope="module")
def images(photos: list[Path]) -> list[np.ndarray]:
    """Lying, standing, 300 high, and smaller than any anchor."""
    first = cv2.imread(str(photos[0]))
    sizes = [(400, 300), (427, 640), (60, 40), (9, 7)]
    return [first, *(cv2.resize(first, size) for size in sizes)]


def assert_same(found: Instances, wanted: list[ReferenceInstance]) -> None:
    """The same instances in the same order."""
    assert found.labels.tolist() == [instance.label for instance in wanted]
    np.testing.assert_allclose(found.scores, [instance.score for instance in wanted], atol=1e-3)
    boxes = np.array([instance.box for instance in wanted], np.float32).reshape(-1, 4)
    np.testing.assert_allclose(found.boxes, boxes, atol=0.01)
    for counts, corners, instance in zip(found.masks, found.mask_boxes, wanted, strict=True):
        mask = decode_crop(counts, corners[3], corners[2])
        # A box may end on either side of .5; a probability may be on either side of the threshold in a pixel or two.
        assert np.abs(np.subtract(mask.shape, instance.mask.shape)).max() <= 1
        shared = tuple(slice(min(sides)) for sides in zip(mask.shape, instance.mask.shape, strict=True))
        different = np.count_nonzero(mask[shared] != instance.mask[shared])
        assert different <= max(2, 0.002 * instance.mask.size)


def test_every_engine_agrees_with_the_uncut_program(
    model: str, reference: Reference, cores: dict[str, Answer], images: list[np.ndarray]
) -> None:
    found = 0
    for image in images:
        for threshold in THRESHOLDS[model]:
            wanted = reference.predict(image, threshold)
            found += len(wanted)
            for answer in cores.values():
                assert_same(answer(image, threshold), wanted)
    assert found > 100


def test_nothing_above_the_threshold_is_no_error(cores: dict[str, Answer], images: list[np.ndarray]) -> None:
    for answer in cores.values():
        assert len(answer(images[0], 0.9999).labels) == 0


def test_the_later_file_format_makes_the_same_model(paddle_model: Callable[[str], Path], tmp_path: Path) -> None:
    from onnx import load

    kinds = []
    for name in ("tiny-MaskRCNN-320", "tiny-MaskRCNN-320.v4"):
        blueprint = _blueprint(paddle_model(name))
        assert blueprint.points.build_onnx is not None
        target = tmp_path / f"{name}.onnx"
        blueprint.points.build_onnx(blueprint.program, blueprint.folder.weights, target, exact=True)
        kinds.append([node.op_type for node in load(target).graph.node])
    assert sorted(kinds[0]) == sorted(kinds[1])


def test_a_core_is_one_file_of_standard_operators(paddle_model: Callable[[str], Path], tmp_path: Path) -> None:
    from onnx import load

    blueprint = _blueprint(paddle_model("tiny-MaskRCNN-320"))
    core = make_core(blueprint, tmp_path, "onnxruntime", "fp32", lambda line: None, exact=True)
    (file,) = core.files
    graph = load(file)
    assert {node.domain for node in graph.graph.node} == {""}
    assert {opset.domain for opset in graph.opset_import} <= {"", "ai.onnx"}
    assert [value.name for value in graph.graph.output] == ["detections", "masks"]
