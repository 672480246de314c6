"""The patterns, in cores as Paddle2ONNX writes them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from maskserve_convert.onnx.model import load, save
from maskserve_convert.onnx.passes.boxes_from_masks import boxes_from_masks
from maskserve_convert.onnx.passes.fold_upsample_conv import fold_upsample_conv
from maskserve_convert.onnx.passes.gather_before_matmul import gather_before_matmul
from maskserve_convert.onnx.passes.transpose_as_nchw import transpose_as_nchw
from maskserve_convert.onnx.passes.winograd_conv import winograd_conv
from maskserve_convert.onnx.pipeline import PASSES, rewrite
from maskserve_convert.paddle.export import export
from maskserve_convert.paddle.folder import PaddleFolder
from maskserve_convert.paddle.program import Program
from maskserve_convert.recognised import RecognisedModel
from tests.convert.passes.cores import answers, kinds, onnx, rewritten
from tests.packages import need

need("paddle2onnx", reason="a core needs paddle2onnx")

PaddleModel = Callable[[str], Path]


def exported(folder: PaddleFolder, target: Path) -> Path:
    recognised = RecognisedModel.recognise(folder, "model", Program.read(folder.program))
    export(*recognised.write_subgraph(target.parent), target)
    return target


def _size(path: Path) -> tuple[int, int]:
    image = next(tensor for tensor in onnx.load(path).graph.input if tensor.name == "image")
    height, width = (side.dim_value for side in image.type.tensor_type.shape.dim[2:])
    return height, width


def places(path: Path, *, exact: bool) -> dict[str, int]:
    """Run all passes over a core's file; returns how many places those that found something rewrote."""
    model = load(path)
    reports = rewrite(model, exact=exact)
    assert [report.name for report in reports] == [step.name for step in PASSES]
    save(model, path)
    return {report.name: report.found for report in reports if report.found}


@pytest.mark.parametrize("name", ["tiny-Mask-RT-DETR-320", "tiny-Mask-RT-DETR-320.v4"])
def test_the_decoder_of_mask_rt_detr(name: str, paddle_model: PaddleModel, tmp_path: Path) -> None:
    plain = exported(PaddleFolder.open(paddle_model(name)), tmp_path / "core.onnx")
    (height, width), layers = _size(plain), kinds(plain)["GridSample"] // 3
    assert rewritten(plain, boxes_from_masks)[0] == 5
    assert rewritten(plain, gather_before_matmul)[0] == 1
    assert rewritten(plain, transpose_as_nchw)[0] >= 3 * layers
    feeds = {
        "image": np.random.default_rng(0).uniform(size=(1, 3, height, width)).astype(np.float32),
        "im_shape": np.array([[height, width]], np.float32),
        "scale_factor": np.ones((1, 2), np.float32),
    }
    before = answers(plain, feeds)
    found = places(plain, exact=True)
    assert found["boxes_from_masks"] == 5
    assert found["gather_before_matmul"] == 1
    assert found["transpose_as_nchw"] >= 3 * layers
    assert kinds(plain)["Greater"] == 2  # one for columns, one for rows
    after = answers(plain, feeds)
    for output, array in before.items():
        np.testing.assert_allclose(after[output], array, rtol=1e-5, atol=1e-5)


def test_the_prototypes_of_pp_yoloe(paddle_model: PaddleModel, tmp_path: Path) -> None:
    plain = exported(PaddleFolder.open(paddle_model("tiny-PP-YOLOE_seg-320")), tmp_path / "core.onnx")
    feeds = {"image": np.random.default_rng(0).uniform(size=(1, 3, 320, 320)).astype(np.float32)}
    before = answers(plain, feeds)
    assert rewritten(plain, fold_upsample_conv)[0] == 1
    assert places(plain, exact=False) == {"fold_upsample_conv": 1}
    assert kinds(plain)["ConvTranspose"] == 0
    after = answers(plain, feeds)
    for output, array in before.items():
        np.testing.assert_allclose(after[output], array, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(("name", "convolutions", "kernels"), [("SOLOv2", 28, 7), ("tiny-SOLOv2-320", 0, 0)])
def test_large_towers_are_filtered_with_fewer_multiplications(
    name: str, convolutions: int, kernels: int, paddle_model: PaddleModel, tmp_path: Path
) -> None:
    plain = exported(PaddleFolder.open(paddle_model(name)), tmp_path / "core.onnx")
    found, target = rewritten(plain, winograd_conv)
    assert found == convolutions
    spread = [
        tensor for tensor in onnx.load(target).graph.initializer if len(tensor.dims) == 3 and tensor.dims[0] == 36
    ]
    assert len(spread) == kernels  # the grids share the kernels of their towers
