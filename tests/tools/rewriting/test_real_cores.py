"""The patterns, in cores as Paddle2ONNX writes them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from maskserve_tools.converting.blueprint import Blueprint
from maskserve_tools.converting.onnx_export import export
from maskserve_tools.converting.onnx_graph.shapes import partial_shapes
from maskserve_tools.converting.paddle_folder import PaddleFolder
from maskserve_tools.converting.program.pir import Program
from maskserve_tools.converting.rewriting.extents import take_lines
from maskserve_tools.converting.rewriting.filtering import filter_maps
from maskserve_tools.converting.rewriting.gathering import gather_first
from maskserve_tools.converting.rewriting.rewrite import rewrite
from maskserve_tools.converting.rewriting.transposing import transpose_as_images
from maskserve_tools.converting.rewriting.upsampling import filter_before_upsampling
from tests.tools.rewriting.cores import answers, kinds, onnx, rewritten

pytest.importorskip("paddle2onnx", reason="a core needs paddle2onnx", exc_type=ImportError)

PaddleModel = Callable[[str], Path]


def exported(folder: PaddleFolder, target: Path) -> Path:
    blueprint = Blueprint.draw(folder, "model", Program.read(folder.program))
    export(*blueprint.write_piece(target.parent), target)
    return target


@pytest.mark.parametrize("name", ["tiny-Mask-RT-DETR-320", "tiny-Mask-RT-DETR-320.v4"])
def test_the_decoder_of_mask_rt_detr(name: str, paddle_model: PaddleModel, tmp_path: Path) -> None:
    plain = exported(PaddleFolder.open(paddle_model(name)), tmp_path / "core.onnx")
    (height, width), layers = partial_shapes(plain)["image"][2:], kinds(plain)["GridSample"] // 3
    assert rewritten(plain, take_lines)[0] == 5
    assert rewritten(plain, gather_first)[0] == 1
    assert rewritten(plain, lambda model, _, graph: transpose_as_images(model, graph))[0] >= 3 * layers
    feeds = {
        "image": np.random.default_rng(0).uniform(size=(1, 3, height, width)).astype(np.float32),
        "im_shape": np.array([[height, width]], np.float32),
        "scale_factor": np.ones((1, 2), np.float32),
    }
    before = answers(plain, feeds)
    assert rewrite(plain, exact=True) >= 6 + 3 * layers
    assert kinds(plain)["Greater"] == 2  # one for columns, one for rows
    after = answers(plain, feeds)
    for output, array in before.items():
        np.testing.assert_allclose(after[output], array, rtol=1e-5, atol=1e-5)


def test_the_prototypes_of_pp_yoloe(paddle_model: PaddleModel, tmp_path: Path) -> None:
    plain = exported(PaddleFolder.open(paddle_model("tiny-PP-YOLOE_seg-320")), tmp_path / "core.onnx")
    feeds = {"image": np.random.default_rng(0).uniform(size=(1, 3, 320, 320)).astype(np.float32)}
    before = answers(plain, feeds)
    assert rewritten(plain, lambda model, _, graph: filter_before_upsampling(model, graph))[0] == 1
    assert rewrite(plain, exact=False) == 1
    assert kinds(plain)["ConvTranspose"] == 0
    after = answers(plain, feeds)
    for output, array in before.items():
        np.testing.assert_allclose(after[output], array, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(("name", "convolutions", "kernels"), [("SOLOv2", 28, 7), ("tiny-SOLOv2-320", 0, 0)])
def test_large_towers_are_filtered_with_fewer_multiplications(
    name: str, convolutions: int, kernels: int, paddle_model: PaddleModel, tmp_path: Path
) -> None:
    plain = exported(PaddleFolder.open(paddle_model(name)), tmp_path / "core.onnx")
    found, target = rewritten(plain, filter_maps)
    assert found == convolutions
    spread = [
        tensor for tensor in onnx.load(target).graph.initializer if len(tensor.dims) == 3 and tensor.dims[0] == 36
    ]
    assert len(spread) == kernels  # the grids share the kernels of their towers
