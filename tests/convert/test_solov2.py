"""SOLOv2 programs: what is read from them, and that the core made of one answers as uncut Paddle does."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import cast

import cv2
import numpy as np
import pytest

from maskserve.errors import ToolError
from maskserve.masks import decode_crop
from maskserve_convert.families import solov2
from maskserve_convert.families.base import CutPoints
from maskserve_convert.families.recognise import recognise
from maskserve_convert.paddle import weights
from maskserve_convert.paddle.cut import cut
from maskserve_convert.paddle.export import export
from maskserve_convert.paddle.folder import PaddleFolder
from maskserve_convert.paddle.legacy import join_sizes
from maskserve_convert.paddle.program import Op, Program
from maskserve_server.engines import load_engine
from maskserve_server.families import Selection, load_family
from maskserve_server.postprocess import Instances, postprocess
from maskserve_server.preprocess import Preprocessor
from maskserve_server.spec import CoreSpec
from maskserve_tools.verify.preparing import Feeds
from maskserve_tools.verify.reference import Reference, ReferenceInstance, _with_one_scale

TINY = "tiny-SOLOv2-320"
ENGINES = ("openvino", "onnxruntime", "paddle")


@pytest.mark.parametrize("name", [TINY, f"{TINY}.v4"])
def test_it_is_recognised_in_both_versions_of_the_file(paddle_model: Callable[[str], Path], name: str) -> None:
    program = Program.read(paddle_model(name) / "inference.json")
    points = recognise(program)
    assert points.family == "solov2"
    assert points.settings == {"upsampling": 4, "mask_threshold": 0.5}
    assert points.program is not None
    subgraph = cut(points.program, points.outputs)
    assert subgraph.feeds == ("image", "threshold")
    assert {subgraph.program.shape(value) for value in points.outputs.values()} == {(1, -1), (1, -1, -1, -1)}
    assert all(subgraph.program.producer(op.inputs[1]).name == "p" for op in subgraph.program.named("conv2d"))


def test_the_real_one_is_enlarged_by_what_its_program_says(paddle_model: Callable[[str], Path]) -> None:
    points = recognise(Program.read(paddle_model("SOLOv2") / "inference.json"))
    assert points.settings == {"upsampling": 4, "mask_threshold": 0.5}


def test_a_program_that_only_looks_like_it_is_refused_with_what_is_missing(
    paddle_model: Callable[[str], Path],
) -> None:
    program = Program.read(paddle_model(TINY) / "inference.json")
    changed = Program(tuple(Op({**op.raw, "#": "1.less_than"}) if op.name == "min" else op for op in program.ops))
    with pytest.raises(ToolError, match=r"looks like SOLOv2, but the minimum of decays .*it has 0.* was not found"):
        solov2.recognise(changed)


def test_other_families_are_not_mistaken_for_it(paddle_model: Callable[[str], Path]) -> None:
    for name in ("tiny-Mask-RT-DETR-320", "tiny-PP-YOLOE_seg-320", "tiny-MaskRCNN-320"):
        assert solov2.recognise(Program.read(paddle_model(name) / "inference.json")) is None


def _int32(value: int, shape: list[int]) -> dict[str, object]:
    return {"%": value, "TT": {"#": "0.t_dtensor", "D": [{"#": "0.t_i32"}, shape, "NCHW", [], 0]}}


def test_sizes_handed_over_one_by_one_are_joined() -> None:
    vector = {"#": "0.t_vec", "D": []}
    ops = [
        {"#": "1.data", "A": [], "I": [], "O": [_int32(1, [1, 4])], "OA": []},
        {"#": "1.full", "A": [], "I": [], "O": [_int32(2, [])], "OA": []},
        {"#": "1.full", "A": [], "I": [], "O": [_int32(3, [1])], "OA": []},
        {"#": "0.combine", "A": [], "I": [{"%": 2}, {"%": 3}], "O": [{"%": 4, "TT": vector}], "OA": []},
        {"#": "1.expand", "A": [], "I": [{"%": 1}, {"%": 4}], "O": [_int32(5, [-1, 4])], "OA": []},
        {"#": "1.relu", "A": [], "I": [{"%": 5}], "O": [_int32(6, [-1, 4])], "OA": []},
    ]
    joined = join_sizes(Program(tuple(Op(raw) for raw in ops)))
    (expand,) = joined.named("expand")
    assert joined.producer(expand.inputs[1]).name == "concat"
    assert joined.shape(expand.inputs[1]) == (2,)
    assert joined.dtype(expand.inputs[1]) == "INT64"
    assert joined.named("relu")[0].inputs == expand.outputs, "what reads the result still finds it"
    seen: set[int] = set()
    for op in joined.ops:
        assert seen.issuperset(op.inputs), "every value is made before it is read"
        seen.update(op.outputs)


Answer = Callable[[np.ndarray, float], Instances]


@pytest.fixture(scope="module")
def folder(paddle_model: Callable[[str], Path]) -> PaddleFolder:
    pytest.importorskip("paddle2onnx", reason="converting needs the convert extra", exc_type=ImportError)
    return PaddleFolder.open(paddle_model(TINY))


@pytest.fixture(scope="module")
def cores(folder: PaddleFolder, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Answer]:
    """The core and the postprocessing, on every engine."""
    target = tmp_path_factory.mktemp("core")
    program = Program.read(folder.program)
    points = recognise(program)
    assert points.program is not None
    subgraph = cut(points.program, points.outputs)
    subgraph.program.write(target / "core.json")
    names = [op.parameter_name for op in program.named("p")]
    weights.subset(folder.weights, names, subgraph.parameters, target / "core.pdiparams")
    export(target / "core.json", target / "core.pdiparams", target / "core.onnx")
    return {engine: _answer(folder, points, engine, target) for engine in ENGINES}


def _answer(folder: PaddleFolder, points: CutPoints, engine: str, target: Path) -> Answer:
    prepare, family = Preprocessor(folder.preprocess), load_family(points.family, points.settings)
    file = "core.json" if engine == "paddle" else "core.onnx"
    core = CoreSpec(engine, file, ("image", "threshold"), tuple(points.outputs), (3, -1, -1))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Paddle's own, while it is imported
        run = load_engine(core, target, threads=1)

    def answer(image: np.ndarray, threshold: float) -> Instances:
        prepared = prepare(image)
        outputs = run({"image": prepared.image, "threshold": np.array([[threshold]], np.float32)})
        return postprocess(family, outputs, prepared.scale_factor[0], prepared.size, Selection(threshold))

    return answer


def _images(images: list[Path]) -> list[np.ndarray]:
    first, second = (cv2.imread(str(path)) for path in images[:2])
    return [
        first,
        cv2.resize(first, (400, 300)),
        cv2.rotate(second, cv2.ROTATE_90_CLOCKWISE),
        cv2.resize(first, (900, 675)),
        cv2.resize(first, (40, 30)),
    ]


def _canvas(mask: np.ndarray, corner: tuple[float, float], size: tuple[int, int]) -> np.ndarray:
    x, y = (int(side) for side in corner)
    canvas = np.zeros(size, bool)
    canvas[y : y + mask.shape[0], x : x + mask.shape[1]] = mask
    return canvas


def _mask_iou(wanted: ReferenceInstance, found: Instances, index: int) -> float:
    x, y, width, height = found.mask_boxes[index].tolist()
    one = _canvas(wanted.mask, wanted.box[:2], found.size)
    other = _canvas(decode_crop(found.masks[index], height, width), (x, y), found.size)
    return float((one & other).sum() / (one | other).sum())


def test_the_core_on_every_engine_equals_uncut_paddle(
    folder: PaddleFolder, cores: dict[str, Answer], images: list[Path]
) -> None:
    reference, compared = Reference(folder, threads=1), 0
    for image in _images(images):
        for threshold in (0.5, 0.3):
            wanted = reference.predict(image, threshold)
            compared += len(wanted)
            for engine, answer in cores.items():
                found = answer(image, threshold)
                where = f"{image.shape} at {threshold} on {engine}"
                assert found.labels.tolist() == [instance.label for instance in wanted], where
                np.testing.assert_allclose(found.scores, [w.score for w in wanted], atol=1e-3, err_msg=where)
                ious = [_mask_iou(instance, found, index) for index, instance in enumerate(wanted)]
                assert min(ious, default=1) >= 0.995, where
                assert np.median(ious or [1]) >= 0.999, where
                np.testing.assert_allclose(found.boxes, [w.box for w in wanted], atol=1, err_msg=where)
    assert compared > 50, "images on which nothing is found prove nothing"


@pytest.mark.parametrize("size", [(1500, 2000), (480, 640), (300, 400), (427, 640), (1080, 1920), (640, 359)])
def test_the_yardstick_is_given_the_scale_with_which_paddle_finds_the_images_own_size(size: tuple[int, int]) -> None:
    settings = {"type": "Resize", "target_size": [800, 1333], "keep_ratio": True, "interp": 1}
    prepared = Preprocessor([settings, {"type": "Permute"}])(np.zeros((*size, 3), np.uint8))
    given = _with_one_scale(cast(Feeds, prepared))
    found = (prepared.im_shape[0] / given.scale_factor[0, 0] + np.float32(0.5)).astype(int)
    assert tuple(found) == size


def test_a_photo_for_which_there_is_no_such_scale_keeps_its_own() -> None:
    settings = {"type": "Resize", "target_size": [800, 1333], "keep_ratio": True, "interp": 1}
    prepared = Preprocessor([settings, {"type": "Permute"}])(np.zeros((3000, 4000, 3), np.uint8))
    assert _with_one_scale(cast(Feeds, prepared)) is prepared
