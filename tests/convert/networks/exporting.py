"""From a cell of the grid to a Paddle inference folder."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
SIDE = 128  # of the input where it is fixed


@dataclass(frozen=True, slots=True)
class Cell:
    """One export.

    Attributes:
        family: a key of `tests.convert.networks.families.NETWORKS`.
        classes: how many classes it has.
        one_image: whether it is exported for one image; otherwise for a batch of any size.
        fixed: whether its input has a fixed size.
        trt: whether activations are written out, as for TensorRT.
        fuse_normalize: whether the program normalises the image.
        keep_ratio: whether images keep their ratio when they are resized.
    """

    family: str
    classes: int = 2
    one_image: bool = False
    fixed: bool = False
    trt: bool = False
    fuse_normalize: bool = False
    keep_ratio: bool = False

    def __str__(self) -> str:
        words = [
            self.family,
            f"{self.classes} classes",
            "one image" if self.one_image else "any batch",
            f"{SIDE}x{SIDE}" if self.fixed else "any size",
        ]
        return ", ".join([*words, *(name for name in ("trt", "fuse_normalize", "keep_ratio") if getattr(self, name))])


def export(cell: Cell, network: Callable[[Cell], Any], folder: Path) -> Path:
    """Build the network of a cell from a seed, and let Paddle export it into `folder`."""
    import paddle
    from paddle.static import InputSpec

    paddle.disable_static()
    paddle.set_flags({"FLAGS_enable_pir_api": True})  # which Paddle2ONNX switches off
    paddle.seed(7)
    layer = network(cell)
    layer.eval()
    side, batch = SIDE if cell.fixed else -1, 1 if cell.one_image else -1
    specification = {
        # PaddleDetection leaves the batch of the image open even where the other inputs have one row.
        "image": InputSpec([-1, 3, side, side], name="image"),
        "im_shape": InputSpec([batch, 2], name="im_shape"),
        "scale_factor": InputSpec([batch, 2], name="scale_factor"),
    }
    folder.mkdir(parents=True, exist_ok=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of variables that one branch alone has
        static = paddle.jit.to_static(layer, input_spec=[specification], full_graph=True)
        paddle.jit.save(static, str(folder / "inference"), input_spec=[specification])
    (folder / "inference.yml").write_text(yaml.safe_dump(settings(cell)), encoding="utf-8")
    return folder


def settings(cell: Cell) -> dict[str, Any]:
    """What PaddleDetection writes into `inference.yml`."""
    normalize = {"type": "NormalizeImage", "mean": list(MEAN), "std": list(STD), "is_scale": True}
    resize = {"type": "Resize", "target_size": [SIDE, SIDE], "keep_ratio": cell.keep_ratio, "interp": 2}
    steps = [resize, *([] if cell.fuse_normalize else [normalize]), {"type": "Permute"}]
    return {
        "draw_threshold": 0.5,
        "Preprocess": [*steps, {"type": "PadStride", "stride": 32}],
        "label_list": [f"class {number}" for number in range(cell.classes)],
    }
