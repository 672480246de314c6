"""JPEG files that are decoded to a part of their size: fewer pixels, the original's coordinates."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from tests.conftest import DEMO, ROOT

from maskserve import contract, create_pipeline
from maskserve.decoding.decode import decode, jpeg_size
from maskserve.decoding.decoders import OwnProcess
from maskserve.decoding.jpeg_pixels import reduced_size
from maskserve.decoding.limits import Limits
from maskserve.decoding.pool import DecoderPool
from maskserve.errors import ImageTooLarge, InvalidImage, ToolError
from maskserve_server.spec import CoreSpec, ModelSpec
from maskserve_server.stages import Arrays, Preprocess

PHOTO = ROOT / "demo" / "photos" / "astronaut.jpg"
STRETCHED: dict[str, Any] = {"type": "Resize", "target_size": [64, 96], "keep_ratio": False, "interp": 2}
FITTED: dict[str, Any] = {"type": "Resize", "target_size": [64, 96], "keep_ratio": True, "interp": 2}
REST: list[dict[str, Any]] = [{"type": "NormalizeImage", "norm_type": "none", "mean": [0] * 3, "std": [1] * 3},
                              {"type": "Permute"}, {"type": "PadStride", "stride": 32}]  # fmt: skip


def make_image(width: int, height: int) -> Image.Image:
    """A soft image whose corners all differ."""
    small = np.random.default_rng(0).integers(0, 256, (4, 5, 3), np.uint8)
    return Image.fromarray(cv2.resize(small, (width, height), interpolation=cv2.INTER_LINEAR))


def jpeg(width: int = 801, height: int = 603, *, orientation: int = 1, mode: str = "RGB", **options: Any) -> bytes:
    exif = Image.Exif()
    exif[0x0112] = orientation
    file = io.BytesIO()
    make_image(width, height).convert(mode).save(file, "JPEG", quality=95, exif=exif, **options)
    return file.getvalue()


def spec(*steps: dict[str, Any], how: str = "reduced") -> ModelSpec:
    core = CoreSpec("openvino", "core.onnx", ("image",), ("detections", "mask_logits"), (3, -1, -1))
    return ModelSpec("fake", "mask_rt_detr", {}, steps, ("a",), 0.5, core, decode=how)


def prepared(content: bytes, *steps: dict[str, Any], how: str) -> Arrays:
    image = np.empty(1, np.object_)
    image[0] = content
    stage = Preprocess(spec(*steps, how=how), OwnProcess(Limits()))
    return stage({contract.IMAGE: image, contract.THRESHOLD: None, contract.CLASS_IDS: None})


@given(st.integers(1, 9000), st.integers(1, 9000), st.integers(1, 2000), st.integers(1, 2000))
def test_the_smallest_part_that_is_enough(width: int, height: int, least_height: int, least_width: int) -> None:
    parts = [(-(-width // factor), -(-height // factor)) for factor in (8, 4, 2, 1)]
    found = reduced_size(width, height, (least_height, least_width))
    assert found in parts
    enough = [part for part in parts if part[0] >= least_width and part[1] >= least_height]
    assert found == (enough[0] if enough else (width, height))


@pytest.mark.parametrize(
    ("least", "shape"),
    [((64, 96), (76, 101)), ((77, 96), (151, 201)), ((64, 102), (151, 201)), ((500, 10), (603, 801))],
)
@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"mode": "CMYK"}, {"mode": "L"}, {"subsampling": 0}])
def test_a_part_shows_what_the_whole_shows(
    options: dict[str, Any], least: tuple[int, int], shape: tuple[int, int]
) -> None:
    content = jpeg(**options)
    whole, part = decode(content), decode(content, least=least)
    assert part.shape == (*shape, 3)
    expected = cv2.resize(whole, shape[::-1], interpolation=cv2.INTER_AREA)
    assert np.abs(part.astype(int) - expected).mean() < 2.5


@pytest.mark.parametrize("orientation", range(1, 9))
def test_an_image_that_lies_on_its_side(orientation: int) -> None:
    content = jpeg(801, 403, orientation=orientation)
    whole = decode(content)
    assert jpeg_size(content) == whole.shape[:2]
    least = (200, 100) if whole.shape[0] > whole.shape[1] else (100, 200)  # a quarter of it is 201 x 101
    part = decode(content, least=least)
    assert sorted(part.shape[:2]) == [101, 201]
    expected = cv2.resize(whole, part.shape[1::-1], interpolation=cv2.INTER_AREA)
    assert np.abs(part.astype(int) - expected).mean() < 2.5


def test_a_process_of_its_own_gives_the_same() -> None:
    pool = DecoderPool(Limits(), 1)
    try:
        for least in (None, (64, 96), None, (300, 300)):
            content = jpeg()
            with pool.lend(content, least) as pixels:
                np.testing.assert_array_equal(pixels, decode(content, least=least))
    finally:
        pool.close()


@pytest.mark.parametrize("damage", [lambda c: c[: len(c) // 2], lambda c: c[:20], lambda c: b""])
def test_what_is_damaged_is_refused_all_the_same(damage: Callable[[bytes], bytes]) -> None:
    content = damage(jpeg())
    for how in ("full", "reduced"):
        with pytest.raises(InvalidImage):
            prepared(content, STRETCHED, *REST, how=how)


def test_the_limit_is_on_the_pixels_of_the_whole() -> None:
    limits = Limits(max_pixels=801 * 603 - 1)
    for ask in (lambda: jpeg_size(jpeg(), limits), lambda: decode(jpeg(), limits, least=(64, 96))):
        with pytest.raises(ImageTooLarge, match="801x603"):
            ask()


@pytest.mark.parametrize("resize", [STRETCHED, FITTED])
@pytest.mark.parametrize("orientation", [1, 6])
def test_the_network_gets_nearly_the_same_and_the_original_size_stays(resize: dict[str, Any], orientation: int) -> None:
    content = jpeg(orientation=orientation)
    full, reduced = (prepared(content, resize, *REST, how=how) for how in ("full", "reduced"))
    for name in ("im_shape", "scale_factor", contract.IMAGE_SIZE):
        np.testing.assert_array_equal(reduced[name], full[name])
    assert reduced["image"].shape == full["image"].shape
    difference = np.abs(reduced["image"] - full["image"])
    assert 0 < difference.mean() < 0.02  # of values from 0 to 1


@pytest.mark.parametrize("small", [lambda: jpeg(120, 90), lambda: png(801, 603)])
def test_what_is_small_or_no_jpeg_stays_bit_for_bit(small: Callable[[], bytes]) -> None:
    content = small()
    full, reduced = (prepared(content, STRETCHED, *REST, how=how) for how in ("full", "reduced"))
    for name, array in full.items():
        np.testing.assert_array_equal(reduced[name], array)


def png(width: int, height: int) -> bytes:
    file = io.BytesIO()
    make_image(width, height).save(file, "PNG")
    return file.getvalue()


def test_a_description_says_it_only_where_it_is_not_usual() -> None:
    assert "decode" not in json.loads(spec(STRETCHED, *REST, how="full").to_json())
    text = spec(STRETCHED, *REST).to_json()
    assert ModelSpec.from_json(text).decode == "reduced"
    with pytest.raises(ToolError, match="decode is 'half'"):
        ModelSpec.from_json(text.replace('"decode": "reduced"', '"decode": "half"'))


def test_a_large_image_is_answered_in_its_own_pixels(demo_model: Path, demo_repository: Path, tmp_path: Path) -> None:
    from maskserve_tools import convert

    models = tmp_path / "models"
    convert(demo_model, repository=models, name="people", decode="reduced")
    found = {path.parent.parent.name: ModelSpec.read(path.parent).decode for path in models.glob("*/1/model.json")}
    assert found == dict.fromkeys((f"people.{step}" for step in contract.STEPS), "reduced")
    assert json.loads((models / "people" / "provenance.json").read_text())["decode"] == "reduced"
    large = tmp_path / "large.jpg"
    cv2.imwrite(str(large), cv2.resize(cv2.imread(str(PHOTO)), (4000, 3000), interpolation=cv2.INTER_CUBIC))
    (full,) = create_pipeline(demo_repository / f"{DEMO}-single").segment(large).instances
    (reduced,) = create_pipeline(models / "people").segment(large).instances
    np.testing.assert_allclose(reduced.box, full.box, atol=40)  # 1 % of 4000
    assert reduced.box != full.box
    assert reduced.score == pytest.approx(full.score, abs=0.02)
    assert reduced.mask.size == (3000, 4000)
    assert reduced.mask.iou(full.mask) > 0.97
