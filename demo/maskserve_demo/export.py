"""Export a checkpoint as a PaddleX inference folder: `python -m maskserve_demo.export --weights F --out DIR`."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import paddle
import torch

from . import layout
from .decode import Exported
from .network import PeopleNet
from .transfer import transfer

MODEL_NAME = "maskserve-people"

# What PaddleX needs to know beside the program, in the order PaddleDetection's exporter writes it.
_INFERENCE_YML = f"""\
mode: paddle
draw_threshold: 0.5
metric: COCO
use_dynamic_shape: false
Global:
  model_name: {MODEL_NAME}
arch: DETR
min_subgraph_size: 3
mask: true
Preprocess:
- interp: 2
  keep_ratio: false
  target_size:
  - {layout.SIZE}
  - {layout.SIZE}
  type: Resize
- mean:
  - {layout.MEAN!r}
  - {layout.MEAN!r}
  - {layout.MEAN!r}
  norm_type: mean_std
  is_scale: true
  std:
  - {layout.STD!r}
  - {layout.STD!r}
  - {layout.STD!r}
  type: NormalizeImage
- type: Permute
label_list:
- {layout.LABEL}
"""


def load_network(weights: Path) -> PeopleNet:
    """Return the Paddle network with a checkpoint's averaged weights."""
    checkpoint = torch.load(weights, map_location="cpu", weights_only=True)
    network = PeopleNet()
    transfer(checkpoint["average"], network)
    network.eval()
    return network


def export(network: PeopleNet, folder: Path, scale: float = 1.0, shift: float = 0.0) -> None:
    """Write `inference.{yml,json,pdiparams}` into `folder`; scores are calibrated by `scale` and `shift`."""
    folder.mkdir(parents=True, exist_ok=True)
    model = Exported(network, scale, shift)
    model.eval()
    spec = [
        paddle.static.InputSpec([None, 2], "float32", name="im_shape"),
        paddle.static.InputSpec([None, 3, layout.SIZE, layout.SIZE], "float32", name="image"),
        paddle.static.InputSpec([None, 2], "float32", name="scale_factor"),
    ]
    paddle.jit.save(paddle.jit.to_static(model, input_spec=spec, full_graph=True), str(folder / "inference"))
    (folder / "inference.yml").write_text(_INFERENCE_YML, encoding="utf-8")


def main() -> None:
    """Parse the command line and export."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--weights", type=Path, required=True, help="checkpoint written by maskserve_demo.train")
    parser.add_argument("--out", type=Path, required=True, help="inference folder to write")
    parser.add_argument("--calibration", type=Path, help="file written by maskserve_demo.calibrate")
    arguments = parser.parse_args()
    calibration = json.loads(arguments.calibration.read_text(encoding="utf-8")) if arguments.calibration else {}
    export(load_network(arguments.weights), arguments.out, **calibration)


if __name__ == "__main__":
    main()
