"""`verify` sees mistakes of the server: each is planted, and the same image compared with Paddle.

The stages run here without a server; what they answer is compared with uncut Paddle as `maskserve verify` does it.
"""

from __future__ import annotations

import ast
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import cv2
import numpy as np
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from maskserve import contract
from maskserve.decoding import decode
from maskserve.decoding.decoders import OwnProcess
from maskserve.instances import Instances
from maskserve.masks import Mask
from maskserve_convert.paddle.folder import PaddleFolder
from maskserve_server import postprocess, preprocess
from maskserve_server.families import mask_rt_detr
from maskserve_server.preprocess import Preprocessor
from maskserve_server.spec import ModelSpec
from maskserve_server.stages import Core, Postprocess, Preprocess
from maskserve_tools import verify as verifying
from maskserve_tools.verify.comparison import compare
from maskserve_tools.verify.preparing import Preparation
from maskserve_tools.verify.reference import open_reference
from tests.examples import examples

THRESHOLD = 0.3
Fault = Callable[[pytest.MonkeyPatch], None]


@dataclass(frozen=True)
class Served:
    """A model, the folder that it came from, and an image."""

    spec: ModelSpec
    core: Core
    input_image: Path
    folder: Path

    def is_equal(self) -> bool:
        """Whether the stages answer what Paddle answers; both begin anew, so that a shared fault would be in both."""
        inputs: dict[str, Any] = {
            contract.IMAGE: np.array([self.input_image.read_bytes()], np.object_),
            contract.THRESHOLD: np.array([THRESHOLD], np.float32),
            contract.CLASS_IDS: None,
        }
        arrays = {**inputs, **Preprocess(self.spec, OwnProcess(self.spec.limits))(inputs)}
        answer = Postprocess(self.spec)({**arrays, **self.core(arrays)})
        size = tuple(answer[contract.IMAGE_SIZE].tolist())
        boxes = answer[contract.MASK_BOXES].tolist()
        masks = tuple(Mask(counts, tuple(box), size) for counts, box in zip(answer[contract.MASKS], boxes, strict=True))
        scores, labels = answer[contract.SCORES], answer[contract.LABELS]
        names = tuple(map(str, labels))
        served = Instances(answer[contract.BOXES], scores, labels, names, masks, size)
        wanted = open_reference(self.folder).predict(cv2.imread(str(self.input_image)), THRESHOLD)
        assert wanted
        return compare(wanted, served, THRESHOLD).equal


@pytest.fixture(scope="module")
def served(demo_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Served:
    """The demo model with ImageNet's mean and std, and an image that its EXIF turns."""
    for module in ("paddle", "paddle2onnx", "openvino"):
        pytest.importorskip(module, reason=f"converting needs {module}", exc_type=ImportError)
    from maskserve_tools import convert

    place = tmp_path_factory.mktemp("faults")
    folder = Path(shutil.copytree(demo_model, place / "paddle"))
    text = (folder / "inference.yml").read_text(encoding="utf-8")
    means, stds = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
    for old, numbers in (("0.4980392156862745", means), ("0.5019607843137255", stds)):
        for number in numbers:
            text = text.replace(old, str(number), 1)
    (folder / "inference.yml").write_text(text, encoding="utf-8")
    convert(folder, repository=place / "models", name="m", layout="single", engine="openvino")
    directory = place / "models" / "m" / "1"
    input_image = place / "turned.jpg"
    with Image.open(demo_model.parent / "photos" / "astronaut.jpg") as image:
        narrow = image.resize((420, 512))
        exif = narrow.getexif()
        exif[0x0112] = 6  # turn by 90 degrees
        narrow.transpose(Image.Transpose.ROTATE_90).save(input_image, exif=exif, quality=95)
    spec = ModelSpec.read(directory)
    return Served(spec, Core(spec, directory, threads=2), input_image, folder)


def _channels(patch: pytest.MonkeyPatch) -> None:
    right = preprocess._NormalizedPlanes.__call__
    patch.setattr(preprocess._NormalizedPlanes, "__call__", lambda self, image: right(self, image)[::-1].copy())


def _interpolation(patch: pytest.MonkeyPatch) -> None:
    right = preprocess._resize

    def nearest(image: Any, target: Any, interpolation: int) -> Any:
        return right(image, target, cv2.INTER_NEAREST)

    patch.setattr(preprocess, "_resize", nearest)


def _mean_and_std(patch: pytest.MonkeyPatch) -> None:
    right = preprocess._normalize
    patch.setattr(preprocess, "_normalize", lambda image, scale, mean, std: right(image, scale, std, mean))


def _mean_order(patch: pytest.MonkeyPatch) -> None:
    right = preprocess._normalize
    patch.setattr(preprocess, "_normalize", lambda image, scale, mean, std: right(image, scale, mean[::-1], std[::-1]))


def _size(patch: pytest.MonkeyPatch) -> None:
    right = preprocess._resize

    def smaller(image: Any, target: Any, interpolation: int) -> Any:
        made = right(image, (target[0] - 1, target[1] - 1), interpolation)
        return cv2.copyMakeBorder(made, 0, 1, 0, 1, cv2.BORDER_REPLICATE)

    patch.setattr(preprocess, "_resize", smaller)


def _scale_factor(patch: pytest.MonkeyPatch) -> None:
    right = Preprocessor.__call__

    def swapped(self: Preprocessor, image: Any, size: Any = None) -> preprocess.Prepared:
        made = right(self, image, size)
        return replace(made, scale_factor=made.scale_factor[:, ::-1].copy())

    patch.setattr(Preprocessor, "__call__", swapped)


def _exif(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(decode, "orientation_of", lambda content: 1)


def _mask_place(patch: pytest.MonkeyPatch) -> None:
    right = postprocess.crop_windows
    patch.setattr(postprocess, "crop_windows", lambda boxes, size: [(x + 3, *rest) for x, *rest in right(boxes, size)])


def _runs(patch: pytest.MonkeyPatch) -> None:
    right = postprocess.encode_runs
    patch.setattr(postprocess, "encode_runs", lambda runs, windows: right([run[::-1] for run in runs], windows))


def _mask_threshold(patch: pytest.MonkeyPatch) -> None:
    right = mask_rt_detr.paint_once

    def generous(logits: Any, indices: Any, size: Any, windows: Any, threshold: float) -> Any:
        return right(logits, indices, size, windows, threshold - 3)

    patch.setattr(mask_rt_detr, "paint_once", generous)


def _classes(patch: pytest.MonkeyPatch) -> None:
    right = postprocess.postprocess

    def shifted(*arguments: Any) -> Any:
        made = right(*arguments)
        return replace(made, labels=made.labels + 1)

    patch.setattr("maskserve_server.stages.postprocess", shifted)


FAULTS: dict[str, Fault] = {
    "channel order": _channels,
    "interpolation": _interpolation,
    "mean and std swapped": _mean_and_std,
    "mean in the order of BGR": _mean_order,
    "a size one too small": _size,
    "scale_factor swapped": _scale_factor,
    "EXIF ignored": _exif,
    "masks moved": _mask_place,
    "run lengths upside down": _runs,
    "mask threshold": _mask_threshold,
    "classes moved by one": _classes,
}


def test_without_a_fault_the_answers_are_equal(served: Served) -> None:
    assert served.is_equal()


@pytest.mark.parametrize("plant", FAULTS.values(), ids=FAULTS)
def test_a_fault_is_seen(plant: Fault, served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    plant(monkeypatch)
    assert not served.is_equal()


def test_the_reference_imports_nothing_of_the_server() -> None:
    folder = Path(verifying.__file__).parent
    imported = {name for path in folder.glob("*.py") for name in _imports(path)}
    assert not {name for name in imported if name.startswith("maskserve_server")}
    assert "maskserve.masks" not in imported


def _imports(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)


_resize = st.fixed_dictionaries(
    {"type": st.just("Resize"), "target_size": st.lists(st.integers(1, 70), min_size=2, max_size=2)},
    optional={
        "keep_ratio": st.booleans(),
        "interp": st.sampled_from([0, 1, 2, 3, 4, "NEAREST", "LINEAR", "CUBIC", "AREA", "LANCZOS4"]),
    },
)
_three = st.lists(st.floats(0.1, 2.0), min_size=3, max_size=3)
_normalize = st.fixed_dictionaries(
    {"type": st.just("NormalizeImage")},
    optional={
        "is_scale": st.booleans(),
        "norm_type": st.sampled_from(["none", "mean_std", None]),
        "mean": _three,
        "std": _three,
    },
)
_pad = st.fixed_dictionaries({"type": st.just("PadStride")}, optional={"stride": st.sampled_from([-1, 0, 1, 7, 32])})


_steps = st.tuples(_resize, _normalize).flatmap(st.permutations)


@settings(max_examples=examples(150), deadline=None)
@given(
    steps=_steps,
    pads=st.lists(_pad, max_size=1),
    size=st.tuples(st.integers(8, 60), st.integers(8, 60)),
    name=st.sampled_from(["inference.yml", "infer_cfg.yml"]),
)
def test_two_readings_of_the_same_settings_make_the_same_tensors(
    steps: list[Any], pads: list[Any], size: tuple[int, int], name: str
) -> None:
    """The server's and that of `verify`, with all that may be left out left out, too."""
    image = np.random.default_rng(0).integers(0, 256, (*size, 3), np.uint8)
    with TemporaryDirectory() as scratch:
        folder = Path(scratch)
        content = {"Preprocess": [*steps, {"type": "Permute"}, *pads], "label_list": ["a"]}
        (folder / name).write_text(yaml.safe_dump(content), encoding="utf-8")
        (folder / "model.json").touch()
        (folder / "model.pdiparams").touch()
        ours = Preprocessor(PaddleFolder.open(folder).preprocess)(image)
        theirs = Preparation(folder / name)(image)
    assert ours.image.shape == theirs.image.shape
    # Once in ten thousand small images cv2 rounds a cubic half otherwise for red than for blue.
    assert np.count_nonzero(~np.isclose(ours.image, theirs.image, rtol=1e-6, atol=1e-6)) <= 1
    np.testing.assert_array_equal(ours.im_shape, theirs.im_shape)
    np.testing.assert_array_equal(ours.scale_factor, theirs.scale_factor)
    assert ours.size == theirs.size == size
