"""Mask R-CNN with a feature pyramid, Mask R-CNN C4, Cascade Mask R-CNN.

The control flow is that of PaddleDetection: loops over the images of a batch, which Paddle unrolls where the batch is
one; a mask head that takes its only channel where there is one class; a branch for an image without instances.
"""

from __future__ import annotations

import math
from typing import Any

import paddle
from paddle import nn
from paddle.nn import functional as F
from paddle.vision import ops

from tests.convert.networks.exporting import Cell
from tests.convert.networks.layers import Backbone, convolution, linear, suppress

CHANNELS, HIDDEN, PROPOSALS = 8, 24, 40


class RCNN(nn.Layer):
    """All three."""

    offsets: Any
    deformed: Any
    shared: Any

    def __init__(
        self, cell: Cell, *, pyramid: bool = True, stages: int = 1, dcn: bool = False, nms_top_k: int = -1
    ) -> None:
        super().__init__()
        self._nms_top_k = nms_top_k
        self._classes, self._pyramid, self._stages = cell.classes, pyramid, stages
        self.backbone = Backbone(cell, CHANNELS)
        self.offsets = convolution(CHANNELS, 27, gain=0.3) if dcn else None
        self.deformed = ops.DeformConv2D(CHANNELS, CHANNELS, 3, padding=1) if dcn else None
        self.strides = (4, 8, 16, 32) if pyramid else (16,)
        self.rpn_scores, self.rpn_deltas = convolution(CHANNELS, 3, side=1), convolution(CHANNELS, 12, side=1, gain=0.3)
        self.shared = convolution(CHANNELS, CHANNELS, stride=2) if not pyramid else None
        pooled = CHANNELS * 7 * 7 if pyramid else CHANNELS
        agnostic = 1 if stages > 1 else cell.classes
        self.hidden = nn.LayerList([linear(pooled, HIDDEN) for _ in range(stages)])
        gain = 2.0 + math.log(cell.classes)
        self.scores = nn.LayerList([linear(HIDDEN, cell.classes + 1, gain=gain) for _ in range(stages)])
        self.deltas = nn.LayerList([linear(HIDDEN, 4 * agnostic, gain=0.5) for _ in range(stages)])
        self.upsample = nn.Conv2DTranspose(CHANNELS, CHANNELS, 2, 2)
        self.mask_logits = convolution(CHANNELS, cell.classes, side=1, gain=4)
        self.mask_logits.bias.set_value(paddle.full([cell.classes], 0.3))  # where all inputs are 0, 0 would be a tie

    def forward(self, inputs: dict[str, paddle.Tensor]) -> tuple[paddle.Tensor, ...]:
        im_shape, scale_factor = inputs["im_shape"], inputs["scale_factor"]
        features = self.backbone(inputs["image"])
        if self.deformed is not None:
            offsets = self.offsets(features[3])
            features[3] = self.deformed(features[3], offsets[:, :18], F.sigmoid(offsets[:, 18:]))
        if not self._pyramid:
            features = [features[2]]
        rois, rois_num = self._propose(features, im_shape)
        boxes, probabilities = self._refine(features, rois, rois_num, im_shape)
        boxes = self._clipped(boxes, rois_num, im_shape)
        rows, _, count = suppress(
            boxes, probabilities, rois_num, background_label=self._classes, nms_top_k=self._nms_top_k
        )
        masks = self._masks(features, rows, count)
        found, count, sizes = self._original(rows, count, im_shape, scale_factor)
        return found, count, self._paste(masks, found, count, sizes)

    def _propose(self, features, im_shape):
        scores = [self.rpn_scores(feature) for feature in features]
        deltas = [self.rpn_deltas(feature) for feature in features]
        anchors = [self._anchors(features[level], self.strides[level]) for level in range(len(features))]
        rois, counts = [], []
        for i in range(im_shape.shape[0]):
            parts, weights = [], []
            for level in range(len(features)):
                made = ops.generate_proposals(
                    scores[level][i : i + 1],
                    deltas[level][i : i + 1],
                    im_shape[i : i + 1],
                    anchors[level],
                    paddle.full_like(anchors[level], 1.0),
                    pre_nms_top_n=100,
                    post_nms_top_n=PROPOSALS,
                    nms_thresh=0.7,
                    min_size=0.0,
                    return_rois_num=True,
                )
                parts.append(made[0])
                weights.append(made[1])
            if len(features) > 1:
                together, weight = paddle.concat(parts), paddle.concat(weights).flatten()
                number = paddle.shape(weight)[0].cast("int32")
                if number > PROPOSALS:
                    _, best = paddle.topk(weight, PROPOSALS)
                    kept = paddle.gather(together, best)
                else:
                    kept = together
            else:
                kept = parts[0]
            rois.append(kept)
            counts.append(paddle.shape(kept)[0:1])
            parts = None  # type: ignore[assignment]
            weights = None  # type: ignore[assignment]
        return rois, paddle.concat(counts)

    def _anchors(self, feature, stride):
        sizes = [stride * 4.0] if self._pyramid else [32.0]
        half = [(size * ratio / 2, size / ratio / 2) for size in sizes for ratio in (0.7, 1.0, 1.4)]
        base = paddle.to_tensor([[-x, -y, x, y] for x, y in half])
        height, width = feature.shape[2], feature.shape[3]
        across = paddle.arange(0, width * stride, stride, dtype="float32")
        down = paddle.arange(0, height * stride, stride, dtype="float32")
        y, x = paddle.meshgrid(down, across)
        shift = paddle.stack([x.reshape([-1]), y.reshape([-1]), x.reshape([-1]), y.reshape([-1])], axis=1)
        return (shift.reshape([-1, 1, 4]) + base.reshape([1, -1, 4])).reshape([-1, 4])

    def _pool(self, features, boxes, boxes_num, size):
        boxes = paddle.concat(boxes) if len(boxes) > 1 else boxes[0]
        if len(features) == 1:
            return ops.roi_align(features[0], boxes, boxes_num, size, 1 / 16, sampling_ratio=0, aligned=False)
        parts, restore, numbers = ops.distribute_fpn_proposals(boxes, 2, 5, 4, 64, rois_num=boxes_num)
        pooled = [
            ops.roi_align(features[n], parts[n], numbers[n], size, 1 / self.strides[n], sampling_ratio=0, aligned=False)
            for n in range(len(features))
        ]
        return paddle.gather(paddle.concat(pooled), restore)

    def _head(self, features, boxes, boxes_num, stage):
        if self._pyramid:
            x = self._pool(features, boxes, boxes_num, 7).flatten(1)
        else:
            x = F.adaptive_avg_pool2d(F.relu(self.shared(self._pool(features, boxes, boxes_num, 14))), 1).flatten(1)
        x = F.relu(self.hidden[stage](x))
        return F.softmax(self.scores[stage](x)), self.deltas[stage](x)

    def _refine(self, features, rois, rois_num, im_shape):
        probabilities, moved = [], rois
        for stage in range(self._stages):
            if stage > 0:
                rois = self._as_rois(moved, rois, im_shape)
                rois_num = paddle.concat([paddle.shape(roi)[0:1] for roi in rois])
            scores, deltas = self._head(features, rois, rois_num, stage)
            probabilities.append(scores)
            boxes = paddle.concat(rois) if len(rois) > 1 else rois[0]
            moved = self._moved(boxes, deltas)
        mean = sum(probabilities) / len(probabilities)
        return paddle.expand(moved, [moved.shape[0], self._classes, 4]), mean[:, :-1]

    def _moved(self, boxes, deltas):
        width, height = boxes[:, 2] - boxes[:, 0], boxes[:, 3] - boxes[:, 1]
        x, y = boxes[:, 0] + 0.5 * width, boxes[:, 1] + 0.5 * height
        dx, dy, dw, dh = (deltas[:, number::4] for number in range(4))
        x, y = 0.1 * dx * width.unsqueeze(1) + x.unsqueeze(1), 0.1 * dy * height.unsqueeze(1) + y.unsqueeze(1)
        width = paddle.exp(paddle.clip(0.2 * dw, max=4.0)) * width.unsqueeze(1)
        height = paddle.exp(paddle.clip(0.2 * dh, max=4.0)) * height.unsqueeze(1)
        corners = [x - 0.5 * width, y - 0.5 * height, x + 0.5 * width, y + 0.5 * height]
        return paddle.stack(corners, axis=-1)

    def _as_rois(self, moved, rois, im_shape):
        sections = []
        for roi in rois:
            sections.append(roi.shape[0])
        if not isinstance(sections, list):  # in a program it is an array of tensors, which split does not take
            sections = [-1]
        clipped = []
        for i, part in enumerate(moved.reshape([-1, 4]).split(sections)):
            height, width = im_shape[i][0], im_shape[i][1]
            x0, x1 = paddle.clip(part[:, 0], 0, width), paddle.clip(part[:, 2], 0, width)
            y0, y1 = paddle.clip(part[:, 1], 0, height), paddle.clip(part[:, 3], 0, height)
            clipped.append(paddle.stack([x0, y0, x1, y1], axis=1))
        return clipped

    def _clipped(self, boxes, rois_num, im_shape):
        sizes = []
        for i in range(im_shape.shape[0]):
            sizes.append(paddle.expand(im_shape[i, :], [rois_num[i], 2]))
        limits = paddle.concat(sizes)
        height, width = limits[:, 0].unsqueeze(1), limits[:, 1].unsqueeze(1)
        low = paddle.zeros_like(height)
        sides = [(boxes[:, :, 0], width), (boxes[:, :, 1], height), (boxes[:, :, 2], width), (boxes[:, :, 3], height)]
        return paddle.stack([paddle.maximum(paddle.minimum(side, limit), low) for side, limit in sides], axis=-1)

    def _masks(self, features, rows, count):
        if rows.shape[0] == 0:
            masks = paddle.full([1, 1, 1], -1)
        else:
            labels = rows[:, 0].cast("int32")
            x = self._pool(features, [rows[:, 2:]], count, 14)
            if not self._pyramid:
                x = F.relu(self.shared(x))
            logits = self.mask_logits(F.relu(self.upsample(x)))
            if self._classes == 1:
                masks = F.sigmoid(logits)[:, 0, :, :]
            else:
                index = paddle.arange(logits.shape[0]).cast("int32")
                masks = logits[index, labels]
                sides = masks.shape
                masks = F.sigmoid(paddle.reshape(masks, [*index.shape, sides[-2], sides[-1]]))
        return masks

    def _original(self, rows, count, im_shape, scale_factor):
        none, one = paddle.to_tensor([[0.0, 0.0, 0.0, 0.0, 1.0, 1.0]]), paddle.to_tensor([1], dtype="int32")
        found, counts, start = [], [], 0
        for i in range(count.shape[0]):
            if count[i] == 0:
                part = none
                number = one
            else:
                part = rows[start : start + count[i], :]
                number = count[i : i + 1]
                start += count[i]
            found.append(part)
            counts.append(number)
        rows, count = paddle.concat(found), paddle.concat(counts)
        whole = paddle.floor(im_shape / scale_factor + 0.5)
        sizes, scales = [], []
        for i in range(count.shape[0]):
            sizes.append(paddle.expand(whole[i : i + 1, :], [count[i : i + 1], 2]))
            y, x = scale_factor[i, 0].unsqueeze(0), scale_factor[i, 1].unsqueeze(0)
            scales.append(paddle.expand(paddle.concat([x, y, x, y]), [count[i : i + 1], 4]))
        sizes, scales = paddle.concat(sizes), paddle.concat(scales)
        boxes = rows[:, 2:] / scales
        low, limits = paddle.zeros_like(sizes[:, 0]), (sizes[:, 1], sizes[:, 0], sizes[:, 1], sizes[:, 0])
        sides = [paddle.maximum(paddle.minimum(boxes[:, n], limits[n]), low) for n in range(4)]
        boxes = paddle.stack(sides, axis=-1)
        area = ((boxes[:, 2] - boxes[:, 0]) > 0).logical_and((boxes[:, 3] - boxes[:, 1]) > 0).unsqueeze(1)
        labels = paddle.where(area, rows[:, 0:1], paddle.ones_like(rows[:, 0:1]) * -1)
        return paddle.concat([labels, rows[:, 1:2], boxes], axis=1), count, sizes

    def _paste(self, masks, rows, count, sizes):
        sizes = paddle.cast(sizes, "int32")
        result = paddle.zeros([masks.shape[0], paddle.max(sizes[:, 0]), paddle.max(sizes[:, 1])], dtype="int32") - 1
        start = 0
        for i in range(count.shape[0]):
            boxes = rows[start : start + count[i], :]
            own = masks[start : start + count[i], :, :]
            height, width = sizes[i, 0], sizes[i, 1]
            painted = self._stretched(own[:, None, :, :], boxes[:, 2:], height, width)
            result[start : start + count[i], :height, :width] = paddle.cast(painted >= 0.5, "int32")
            start += count[i]
        return result

    def _stretched(self, masks, boxes, height, width):
        x0, y0, x1, y1 = paddle.split(boxes, 4, axis=1)
        number = masks.shape[0]
        y = (paddle.arange(0, height).astype("float32") + 0.5 - y0) / (y1 - y0) * 2 - 1
        x = (paddle.arange(0, width).astype("float32") + 0.5 - x0) / (x1 - x0) * 2 - 1
        across = x.unsqueeze([1]).expand([number, y.shape[1], x.shape[1]])
        down = y.unsqueeze([2]).expand([number, y.shape[1], x.shape[1]])
        return F.grid_sample(masks, paddle.stack([across, down], axis=3), align_corners=False)[:, 0]
