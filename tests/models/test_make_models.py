"""The models that the tests and docs/models.md are made with."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from tests.models.conditioning import OPENNESS, blurred, condition
from tests.models.make_models import (
    PARAMETERS,
    PROGRAM,
    RecipeError,
    Tensor,
    make,
    make_weights,
    read_tensors,
    seeded,
)
from tests.models.normalisation import activated_biases, measure, seeded_image

TINY = "tiny-MaskRCNN-320"
SMALL = (
    Tensor("linear_0.w_0_deepcopy_1", "float32", [2, 81], 1.0),
    Tensor("conv2d_1.w_0_deepcopy_2", "float32", [2, 4, 3, 3], 1.0),
    Tensor("conv2d_transpose_0.w_0_deepcopy_3", "float32", [4, 2, 2, 2], 1.0),
    Tensor("conv2d_2.w_0_deepcopy_4", "float32", [80, 2, 1, 1], 1.0),
)


def test_a_tensor_depends_on_its_name_alone_not_on_the_exporter_s_number() -> None:
    one = seeded("conv2d_0.w_0_deepcopy_2", [2, 2])
    assert np.array_equal(one, seeded("conv2d_0.w_0_deepcopy_77", [2, 2]))
    assert not np.array_equal(one, seeded("conv2d_1.w_0_deepcopy_2", [2, 2]))
    # Written down once: the graphs' stored statistics belong to these values.
    assert one.ravel().tolist() == pytest.approx([-0.49526778, 0.63285142, -0.71600473, -0.09007008], abs=1e-6)


def test_a_made_folder_is_converted_s_input(shared: Path, tmp_path: Path) -> None:
    from maskserve_convert.paddle.folder import PaddleFolder

    folder = PaddleFolder.open(make(shared / "models" / TINY, tmp_path / TINY))
    assert {folder.program.name, folder.weights.name} == {PROGRAM, PARAMETERS}


def test_the_older_format_cannot_be_conditioned(shared: Path, tmp_path: Path) -> None:
    name = "SOLOv2.pdmodel"
    with pytest.raises(RecipeError, match=rf"{name} has an inference\.pdmodel: --well-conditioned needs"):
        make(shared / "models" / name, tmp_path / name, well_conditioned=True)
    assert not (tmp_path / name).exists()


def test_a_blurred_kernel_keeps_its_direction_and_loses_its_edges() -> None:
    flat, edge = np.ones((1, 1, 3, 3), np.float32), np.zeros((1, 1, 3, 3), np.float32)
    edge[..., 0], edge[..., 2] = 1, -1
    assert blurred(flat).sum() == pytest.approx(9 * 1.2)
    assert np.array_equal(blurred(edge), edge / 2)


def test_an_r_cnn_s_mask_head_is_smooth_and_balanced() -> None:
    weights = {one.name: seeded(one.name, one.shape) for one in SMALL}
    changed = condition(SMALL, weights, ())
    linear, convolution, deconvolution, predictor = (changed[one.name] for one in SMALL)
    assert np.array_equal(linear, weights[SMALL[0].name])
    assert np.abs(convolution.mean(1)).max() < 1e-6
    assert np.abs(predictor.mean(1)).max() < 1e-6
    assert np.abs(deconvolution.mean(0)).max() < 1e-6
    assert (deconvolution == deconvolution[:, :, :1, :1]).all()
    assert list(changed) == list(weights)


def test_an_r_cnn_s_masks_are_blobs_whatever_the_features() -> None:
    """The head, done by numpy on smooth noise: no mask is empty or full, and what is painted is the middle."""
    channels, classes, side = 128, 20, 14
    scale = np.float32(np.sqrt(2 / (9 * channels)))
    shapes = [[channels, channels, 3, 3]] * 4 + [[channels, channels, 2, 2], [classes, channels, 1, 1]]
    layers = ["conv2d_1", "conv2d_2", "conv2d_3", "conv2d_4", "conv2d_transpose_0", "conv2d_5"]
    head = [Tensor(f"{layer}.w_0_deepcopy_{n}", "float32", shapes[n - 2], 1.0) for n, layer in enumerate(layers, 2)]
    tensors = [Tensor("linear_0.w_0_deepcopy_1", "float32", [2, 81], 1.0), *head]
    changed = condition(tensors, {one.name: seeded(one.name, one.shape) * scale for one in tensors}, ())
    *kernels, deconvolution, predictor = (changed[one.name] for one in head)
    found = []
    for number in range(8):
        features = seeded(f"mean {number}", [channels, 1, 1]) + _smooth(seeded(f"box {number}", [channels, side, side]))
        painted_by_size = []
        for size in (1, 1000):
            values = features * np.float32(size)
            for kernel in kernels:
                padded = np.pad(values, ((0, 0), (1, 1), (1, 1)))
                windows = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), axis=(1, 2))  # type: ignore[call-overload]
                values = np.maximum(np.einsum("oikl,ihwkl->ohw", kernel, windows, optimize=True), 0)
            values = np.maximum(np.tensordot(deconvolution[:, :, 0, 0].T, values, 1), 0)
            painted_by_size.append(np.tensordot(predictor[:, :, 0, 0], values, 1) > 0)
        first, second = painted_by_size
        assert (first == second).mean() > 0.999
        found.append(first)
    masks = np.concatenate(found)
    fills, painted = masks.mean((1, 2)), masks.mean(0)
    middle, border = painted[4:-4, 4:-4].mean(), np.concatenate([painted[[0, -1]], painted[:, [0, -1]].T]).mean()
    assert 0.05 < fills.min() < fills.max() < 0.98
    assert middle > 2 * border


def _smooth(noise: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Return noise [channels, height, width] with large structures, of deviation 1."""
    spectrum = np.fft.fft2(noise)
    frequency = np.hypot(np.fft.fftfreq(noise.shape[1])[:, None], np.fft.fftfreq(noise.shape[2])[None])
    frequency[0, 0] = 1
    smooth = np.fft.ifft2(spectrum / frequency).real.astype(np.float32)
    return smooth / smooth.std()


def test_mask_rt_detr_s_scores_are_spread_and_centred() -> None:
    tensors = [
        Tensor("multi_head_attention_0.w_0_deepcopy_1", "float32", [4, 12], 1.0),
        Tensor("linear_7.b_0_deepcopy_3", "float32", [80], None),
        Tensor("linear_7.w_0_deepcopy_2", "float32", [256, 80], None),
    ]
    head = seeded("head", [256, 80]) * np.float32(0.07)
    weights = {
        tensors[0].name: seeded("attention", [4, 12]),
        tensors[1].name: np.full(80, -3, np.float32),
        tensors[2].name: head,
    }
    changed = condition(tensors, weights, ())
    assert np.array_equal(changed[tensors[0].name], weights[tensors[0].name])
    assert np.array_equal(changed[tensors[2].name], head * np.float32(3))
    assert changed[tensors[1].name] == pytest.approx(np.full(80, -3 * 43 * head.std()), rel=1e-5)


def test_solov2_s_scores_are_raised_and_pp_yoloe_seg_s_are_not() -> None:
    """SOLOv2 has one class head for all levels, PP-YOLOE_seg has three."""
    heads = [
        Tensor(f"conv2d_{layer}.{kind}_0_deepcopy_{layer}", "float32", shape, None)
        for layer in (7, 8, 9)
        for kind, shape in (("w", [80, 16, 3, 3]), ("b", [80]))
    ]
    weights = {one.name: np.full(one.shape, -6, np.float32) for one in heads}
    raised = condition(heads[:2], weights, ())
    assert (raised[heads[1].name] == -3.5).all()
    assert (raised[heads[0].name] == -6).all()
    assert all((values == -6).all() for values in condition(heads, weights, ()).values())


def test_only_normalisation_in_front_of_an_activation_is_opened(shared: Path) -> None:
    """ResNet50 has 53: the stem's and two of each of 16 blocks are activated, 16 and 4 shortcuts are added up."""
    recipe = shared / "models" / "MaskRCNN-ResNet50-FPN"
    opened = activated_biases(json.loads(gzip.decompress((recipe / f"{PROGRAM}.gz").read_bytes())))
    assert len(opened) == 33
    biases = [one for one in read_tensors(recipe) if one.layer.startswith("batch_norm") and one.is_bias]
    assert len(biases) == 53
    changed = condition(biases, {one.name: np.full(one.shape, 0.25, np.float32) for one in biases}, opened)
    for name, bias in changed.items():
        assert (bias == 0.25 + (OPENNESS if name in opened else 0)).all()


def test_the_seeded_image_is_like_a_photo() -> None:
    image = seeded_image(64, 96)
    assert image.shape == (1, 3, 64, 96)
    assert image.dtype == np.float32
    assert image.std() == pytest.approx(1, abs=1e-4)
    neighbours = np.corrcoef(image[0, 0, :, 1:].ravel(), image[0, 0, :, :-1].ravel())[0, 1]
    assert neighbours > 0.7
    assert np.corrcoef(image[0, 0].ravel(), image[0, 1].ravel())[0, 1] > 0.3


def test_the_statistics_are_those_of_the_layer_s_input(shared: Path, tmp_path: Path) -> None:
    """The first normalisation follows a convolution of the image, which numpy can do, too."""
    cv2 = pytest.importorskip("cv2")
    folder = make(shared / "models" / TINY, tmp_path / TINY)
    program = json.loads((folder / PROGRAM).read_text(encoding="utf-8"))
    tensors = read_tensors(shared / "models" / TINY)
    weights = make_weights(shared / "models" / TINY, tensors)
    measured = measure(program, weights)
    assert set(measured) == {n for n in weights if n.startswith("batch_norm") and (".w_1" in n or ".w_2" in n)}
    image = seeded_image(512, 640)[0]
    kernel = weights["conv2d_0.w_0_deepcopy_2"]
    border = {"borderType": cv2.BORDER_CONSTANT}
    summed = sum(cv2.filter2D(image[i], cv2.CV_32F, kernel[0, i], **border) for i in range(3))
    wanted = np.asarray(summed)[::2, ::2]
    assert measured["batch_norm2d_0.w_1_deepcopy_5"][0] == pytest.approx(wanted.mean(), abs=1e-4)
    assert measured["batch_norm2d_0.w_2_deepcopy_6"][0] == pytest.approx(wanted.var(), rel=1e-3)
