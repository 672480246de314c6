"""What the networks share."""

from __future__ import annotations

import math

import paddle
from paddle import nn
from paddle.nn import functional as F

from tests.convert.networks.exporting import MEAN, STD, Cell


def swish(x: paddle.Tensor, trt: bool) -> paddle.Tensor:
    """An activation, as one operator or, for TensorRT, written out."""
    return x * F.sigmoid(x) if trt else F.silu(x)


class Backbone(nn.Layer):
    """Maps with strides of 4, 8, 16 and 32, all with the same number of channels."""

    def __init__(self, cell: Cell, channels: int) -> None:
        super().__init__()
        self._fuse, self._trt = cell.fuse_normalize, cell.trt
        scale = [1 / 255 / std for std in STD]
        self.register_buffer("scale", paddle.to_tensor(scale).reshape([1, 3, 1, 1]))
        shift = [-mean / std for mean, std in zip(MEAN, STD, strict=True)]
        self.register_buffer("shift", paddle.to_tensor(shift).reshape([1, 3, 1, 1]))
        self.stem = convolution(3, channels, stride=2)
        self.stages = nn.LayerList([convolution(channels, channels, stride=2) for _ in range(4)])

    def forward(self, image: paddle.Tensor) -> list[paddle.Tensor]:
        if self._fuse:
            image = image * self.scale + self.shift
        x = swish(self.stem(image), self._trt)
        maps = []
        for stage in self.stages:
            x = swish(stage(x), self._trt)
            maps.append(x)
        return maps


def convolution(inputs: int, outputs: int, *, side: int = 3, stride: int = 1, gain: float = 1.6) -> nn.Conv2D:
    """A convolution whose results are about as large as its inputs."""
    spread = nn.initializer.Normal(0, gain / math.sqrt(inputs * side * side))
    return nn.Conv2D(inputs, outputs, side, stride, side // 2, weight_attr=paddle.ParamAttr(initializer=spread))


def linear(inputs: int, outputs: int, *, gain: float = 1.4) -> nn.Linear:
    """The same for vectors."""
    spread = nn.initializer.Normal(0, gain / math.sqrt(inputs))
    return nn.Linear(inputs, outputs, weight_attr=paddle.ParamAttr(initializer=spread))


def suppress(boxes: paddle.Tensor, scores: paddle.Tensor, rois_num: paddle.Tensor | None, **rules: object) -> tuple:
    """Paddle's `multiclass_nms3`: rows [N, 6], index [N, 1], count [B]."""
    defaults = {"score_threshold": 0.05, "nms_top_k": -1, "keep_top_k": 30, "nms_threshold": 0.5}
    names = ("score_threshold", "nms_top_k", "keep_top_k", "nms_threshold", "normalized", "nms_eta", "background_label")
    values = {**defaults, "normalized": True, "nms_eta": 1.0, "background_label": -1, **rules}
    return paddle._C_ops.multiclass_nms3(boxes, scores, rois_num, *(values[name] for name in names))
