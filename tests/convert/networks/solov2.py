"""SOLOv2: class scores and kernels on grids, one map of features, matrix NMS."""

from __future__ import annotations

import math

import paddle
from paddle import nn
from paddle.nn import functional as F

from tests.convert.networks.exporting import Cell
from tests.convert.networks.layers import Backbone, convolution

CHANNELS, KERNEL, GRIDS, STRIDES = 8, 8, (12, 8), (8, 16)
# Candidates that enter the suppression, and instances that leave it. Some cells have more candidates, some fewer.
ENTERING, LEAVING = 200, 150


class SOLOv2(nn.Layer):
    """Two grids."""

    def __init__(self, cell: Cell, *, entering: int = ENTERING, leaving: int = LEAVING) -> None:
        super().__init__()
        self._classes, self._entering, self._leaving = cell.classes, entering, leaving
        self.backbone = Backbone(cell, CHANNELS)
        # A larger gain would make scores of exactly 1, which are ties.
        self.scores = convolution(CHANNELS, cell.classes, gain=1.2)
        self.kernels = convolution(CHANNELS + 2, KERNEL, gain=2.5)
        self.features = convolution(CHANNELS, KERNEL, gain=3.0)

    def forward(self, inputs: dict[str, paddle.Tensor]) -> dict[str, paddle.Tensor]:
        maps = self.backbone(inputs["image"])
        scores, kernels = [], []
        for level in range(len(GRIDS)):
            score, kernel = self._level(maps[1 + level], GRIDS[level])
            scores.append(paddle.reshape(score[0], [-1, self._classes]))
            kernels.append(paddle.reshape(paddle.transpose(kernel[0], [1, 2, 0]), [-1, KERNEL]))
        features = F.relu(self.features(maps[0]))
        scores, kernels = paddle.concat(scores, axis=0), paddle.concat(kernels, axis=0)
        masks, labels, scores = self._single(
            scores, features, kernels, features.shape[-2:], inputs["im_shape"][0], inputs["scale_factor"][0][0]
        )
        return {"segm": masks, "bbox_num": labels.shape[0:1], "cate_label": labels, "cate_score": scores}

    def _level(self, x, grid):
        down, across = paddle.linspace(-1, 1, x.shape[-2]), paddle.linspace(-1, 1, x.shape[-1])
        y_grid, x_grid = paddle.meshgrid([down, across])
        places = [
            paddle.expand(paddle.unsqueeze(one, [0, 1]), shape=[x.shape[0], 1, -1, -1]) for one in (x_grid, y_grid)
        ]
        x = paddle.concat([x, *places], axis=1)
        x = F.interpolate(x, size=[grid, grid], mode="bilinear", align_corners=False, align_mode=0)
        heat = F.sigmoid(self.scores(x[:, :-2, :, :]) - 1 - 0.8 * math.log(self._classes))
        highest = F.max_pool2d(heat, kernel_size=2, stride=1, padding=1)
        heat = heat * paddle.cast((highest[:, :, :-1, :-1] == heat), "float32")
        return paddle.transpose(heat, [0, 2, 3, 1]), self.kernels(x)

    def _single(self, scores, features, kernels, size, im_shape, scale_factor):
        height, width = paddle.cast(im_shape[0], "int32"), paddle.cast(im_shape[1], "int32")
        enlarged = [size[0] * 4, size[1] * 4]
        index = paddle.nonzero(paddle.where(scores > 0.1, scores, paddle.zeros(scores.shape, dtype="float32")))
        flat = paddle.reshape(scores, shape=[-1])
        last = paddle.cast(paddle.shape(kernels)[0:1], "int64")
        index = paddle.concat([index, paddle.unsqueeze(paddle.concat([last, paddle.zeros([1], dtype="int64")]), 0)])
        kernels = paddle.concat([kernels, paddle.ones(shape=[1, KERNEL], dtype="float32")])
        flat = paddle.concat([flat, paddle.zeros(shape=[1], dtype="float32")])
        labels = index[:, 1]
        kernels = paddle.gather(kernels, index=index[:, 0])
        scores = paddle.gather(flat, index=paddle.add(index[:, 0] * self._classes, labels))
        strides = paddle.concat(
            [paddle.full([GRIDS[level] ** 2], STRIDES[level], dtype="int32") for level in range(len(GRIDS))]
        )
        strides = paddle.gather(paddle.concat([strides, paddle.zeros([1], dtype="int32")]), index=index[:, 0])
        soft = F.sigmoid(paddle.squeeze(F.conv2d(features, paddle.unsqueeze(kernels, [2, 3])), [0]))
        hard = paddle.cast(soft > 0.5, "float32")
        areas = paddle.sum(hard, axis=[1, 2])
        none = paddle.zeros(shape=paddle.shape(areas), dtype="float32")
        keep = paddle.nonzero(paddle.where(areas > strides.cast(areas.dtype), areas, none))
        keep = paddle.squeeze(keep, axis=[1])
        end = paddle.cast(paddle.shape(areas)[0:1], "int64")
        scores = paddle.concat([scores, paddle.zeros(shape=[1], dtype="float32")])
        scores = paddle.gather(scores, index=paddle.concat([keep, end]))
        keep = paddle.concat([keep, end - 1])
        hard, soft, areas, labels = (paddle.gather(value, index=keep) for value in (hard, soft, areas, labels))
        scores = scores * (paddle.sum(soft * hard, axis=[1, 2]) / areas)
        soft, scores, labels = self._suppress(soft, hard, labels, scores, areas)
        whole = paddle.cast(im_shape[:2] / scale_factor + 0.5, "int32")
        soft = F.interpolate(soft.unsqueeze(0), size=enlarged, mode="bilinear", align_corners=False, align_mode=0)
        soft = paddle.slice(soft, axes=[2, 3], starts=[0, 0], ends=[height, width])
        soft = F.interpolate(soft, size=whole[:2], mode="bilinear", align_corners=False, align_mode=0)
        masks = paddle.cast(paddle.squeeze(soft, axis=[0]) > 0.5, "uint8")
        return masks, labels, scores

    def _suppress(self, soft, hard, labels, scores, areas):
        order = self._order(scores, self._entering)
        hard, soft, areas, scores, labels = (
            paddle.gather(value, index=order) for value in (hard, soft, areas, scores, labels)
        )
        hard = paddle.flatten(hard, start_axis=1, stop_axis=-1)
        shared = paddle.mm(hard, paddle.transpose(hard, [1, 0]))
        number = paddle.to_tensor(labels.shape, dtype="int32")
        across = paddle.expand(areas, shape=[number, number])
        overlap = paddle.triu(shared / (across + paddle.transpose(across, [1, 0]) - shared), diagonal=1)
        classes = paddle.expand(labels, shape=[number, number])
        same = paddle.triu(paddle.cast(classes == paddle.transpose(classes, [1, 0]), "float32"), diagonal=1)
        decay = overlap * same
        most = paddle.transpose(paddle.expand(paddle.max(decay, axis=0), shape=[number, number]), [1, 0])
        ratio = paddle.exp(-1 * 2.0 * (decay**2)) / paddle.exp(-1 * 2.0 * (most**2))
        scores = scores * paddle.min(ratio, axis=0)
        keep = paddle.where(scores >= 0.05, scores, paddle.zeros(shape=scores.shape, dtype="float32"))
        keep = paddle.squeeze(paddle.nonzero(keep), axis=[1])
        keep = paddle.concat([keep, paddle.cast(paddle.shape(scores)[0:1] - 1, "int64")])
        soft, scores, labels = (paddle.gather(value, index=keep) for value in (soft, scores, labels))
        order = self._order(scores, self._leaving)
        return tuple(paddle.gather(value, index=order) for value in (soft, scores, labels))

    def _order(self, scores, number):
        if scores.shape[0] > number:
            return paddle.topk(scores, number)[1]
        else:
            return paddle.argsort(scores, descending=True)
