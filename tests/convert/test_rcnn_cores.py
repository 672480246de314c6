"""R-CNN cores made from the tiny models, against Paddle Inference on the uncut ones."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest

from maskserve.masks import decode_crop
from maskserve_convert.cores import make_core
from maskserve_convert.paddle.folder import PaddleFolder
from maskserve_convert.paddle.program import Program
from maskserve_convert.recognised import RecognisedModel
from maskserve_server.engines import load_engine
from maskserve_server.families import Selection, load_family
from maskserve_server.postprocess import Instances, postprocess
from maskserve_server.preprocess import Preprocessor
from maskserve_tools.verify.reference import Reference, ReferenceInstance, open_reference
from tests.packages import need

for module in ("paddle2onnx", "openvino", "onnxruntime"):
    need(module, reason=f"a core needs {module}")
pytestmark = pytest.mark.filterwarnings("ignore")  # Paddle's own, while it is imported

ENGINES = ("openvino", "onnxruntime", "paddle")
# The cascade's scores are low: its random weights were calibrated for nothing better.
THRESHOLDS = {"tiny-MaskRCNN-320": (0.5, 0.1), "tiny-Cascade-MaskRCNN-320": (0.3, 0.05)}

Answer = Callable[[np.ndarray, float], Instances]


def _recognised(path: Path) -> RecognisedModel:
    folder = PaddleFolder.open(path)
    return RecognisedModel.recognise(folder, "model", Program.read(folder.program))


def _answer(recognised: RecognisedModel, engine: str, scratch: Path) -> Answer:
    core = make_core(recognised, scratch, engine, "fp32", lambda line: None, exact=True)
    spec = recognised.spec(core.engine)
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
    recognised = _recognised(paddle_model(model))
    scratch = tmp_path_factory.mktemp("core")
    return {engine: _answer(recognised, engine, scratch) for engine in ENGINES}


@pytest.fixture(scope="module")
def inputs(images: list[Path]) -> list[np.ndarray]:
    """Lying, standing, 300 high, and smaller than any anchor."""
    first = cv2.imread(str(images[0]))
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
    model: str, reference: Reference, cores: dict[str, Answer], inputs: list[np.ndarray]
) -> None:
    found = 0
    for image in inputs:
        for threshold in THRESHOLDS[model]:
            wanted = reference.predict(image, threshold)
            found += len(wanted)
            for answer in cores.values():
                assert_same(answer(image, threshold), wanted)
    assert found > 100


def test_nothing_above_the_threshold_is_no_error(cores: dict[str, Answer], inputs: list[np.ndarray]) -> None:
    for answer in cores.values():
        assert len(answer(inputs[0], 0.9999).labels) == 0


def test_the_later_file_format_makes_the_same_model(paddle_model: Callable[[str], Path], tmp_path: Path) -> None:
    kinds = []
    for name in ("tiny-MaskRCNN-320", "tiny-MaskRCNN-320.v4"):
        recognised = _recognised(paddle_model(name))
        assert recognised.points.build_onnx is not None
        folder = tmp_path / name
        folder.mkdir()
        model = recognised.points.build_onnx(recognised.program, recognised.folder.weights, folder)
        kinds.append([node.op_type for node in model.graph])
    assert sorted(kinds[0]) == sorted(kinds[1])


def test_a_core_is_one_file_of_standard_operators(paddle_model: Callable[[str], Path], tmp_path: Path) -> None:
    from onnx import load

    recognised = _recognised(paddle_model("tiny-MaskRCNN-320"))
    core = make_core(recognised, tmp_path, "onnxruntime", "fp32", lambda line: None, exact=True)
    (file,) = core.files
    graph = load(file)
    assert {node.domain for node in graph.graph.node} == {""}
    assert {opset.domain for opset in graph.opset_import} <= {"", "ai.onnx"}
    assert [value.name for value in graph.graph.output] == ["detections", "masks"]
