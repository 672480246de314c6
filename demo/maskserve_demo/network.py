"""The demo network in Paddle: this is the definition that is exported and served."""

from __future__ import annotations

import paddle
from paddle import Tensor, nn

from . import layout
from .layout import Block


class ConvNorm(nn.Layer):  # type: ignore[misc]
    """Convolution, batch normalisation and (unless `linear`) ReLU6."""

    def __init__(
        self, inputs: int, outputs: int, kernel: int, stride: int = 1, *, groups: int = 1, linear: bool = False
    ) -> None:
        super().__init__()
        before, after = layout.same_padding(kernel, stride)
        self.conv = nn.Conv2D(
            inputs,
            outputs,
            kernel,
            stride,
            padding=[before, after, before, after],
            groups=groups,
            bias_attr=False,
        )
        self.norm = nn.BatchNorm2D(outputs, epsilon=layout.BN_EPSILON)
        self.act = nn.Identity() if linear else nn.ReLU6()

    def forward(self, x: Tensor) -> Tensor:
        """Features [B, inputs, H, W] to [B, outputs, H/stride, W/stride]."""
        return self.act(self.norm(self.conv(x)))


class InvertedResidual(nn.Layer):  # type: ignore[misc]
    """EfficientNet-Lite's block; adds its input when the shapes agree."""

    def __init__(self, block: Block) -> None:
        super().__init__()
        middle = block.inputs * block.expansion
        self.expand = ConvNorm(block.inputs, middle, 1) if block.expansion > 1 else nn.Identity()
        self.depthwise = ConvNorm(middle, middle, block.kernel, block.stride, groups=middle)
        self.project = ConvNorm(middle, block.outputs, 1, linear=True)
        self.residual = block.stride == 1 and block.inputs == block.outputs

    def forward(self, x: Tensor) -> Tensor:
        """Features to features of the block's outputs and stride."""
        y = self.project(self.depthwise(self.expand(x)))
        return x + y if self.residual else y


class Backbone(nn.Layer):  # type: ignore[misc]
    """EfficientNet-Lite0 features at strides 4, 8, 16 and 32."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = ConvNorm(3, layout.STEM, 3, 2)
        self.blocks = nn.LayerList([InvertedResidual(block) for block in layout.BLOCKS])

    def forward(self, image: Tensor) -> list[Tensor]:
        """Image [B, 3, S, S] to the taps, finest first."""
        x = self.stem(image)
        taps = []
        for index, block in enumerate(self.blocks):
            x = block(x)
            if index in layout.TAPS:
                taps.append(x)
        return taps


class Pyramid(nn.Layer):  # type: ignore[misc]
    """Feature pyramid: coarse levels are added to the finer ones, each then smoothed."""

    def __init__(self) -> None:
        super().__init__()
        width = layout.WIDTH
        self.lateral = nn.LayerList([ConvNorm(c, width, 1, linear=True) for c in layout.TAP_CHANNELS[1:]])
        self.smooth = nn.LayerList([ConvNorm(width, width, 3) for _ in layout.STRIDES])

    def forward(self, taps: list[Tensor]) -> list[Tensor]:
        """Taps at strides 8, 16, 32 to as many levels of WIDTH channels."""
        levels = [lateral(tap) for lateral, tap in zip(self.lateral, taps)]  # noqa: B905 - see below
        for index in range(len(levels) - 1, 0, -1):
            levels[index - 1] = levels[index - 1] + nn.functional.interpolate(
                levels[index], scale_factor=2, mode="nearest"
            )
        return [smooth(level) for smooth, level in zip(self.smooth, levels)]  # noqa: B905 - see below


class MaskBranch(nn.Layer):  # type: ignore[misc]
    """Shared mask features [B, MASK_FEATURES, S/4, S/4] from the finest level and the stride-4 tap."""

    def __init__(self) -> None:
        super().__init__()
        width = layout.MASK_WIDTH
        self.coarse = ConvNorm(layout.WIDTH, width, 3)
        self.fine = ConvNorm(layout.TAP_CHANNELS[0], width, 1, linear=True)
        self.convs = nn.LayerList([ConvNorm(width, width, 3) for _ in range(2)])
        self.out = nn.Conv2D(width, layout.MASK_FEATURES, 1)

    def forward(self, tap: Tensor, level: Tensor) -> Tensor:
        """Stride-4 tap and finest level to the shared mask features."""
        x = nn.functional.interpolate(self.coarse(level), scale_factor=2, mode="bilinear", align_corners=False)
        x = x + self.fine(tap)
        for conv in self.convs:
            x = conv(x)
        return self.out(x)


class Tower(nn.Layer):  # type: ignore[misc]
    """Convolutions shared by all levels, with statistics (batch normalisation) of each level's own."""

    def __init__(self) -> None:
        super().__init__()
        width = layout.WIDTH
        self.convs = nn.LayerList([nn.Conv2D(width, width, 3, padding=1, bias_attr=False) for _ in range(layout.TOWER)])
        self.norms = nn.LayerList(
            [
                nn.LayerList([nn.BatchNorm2D(width, epsilon=layout.BN_EPSILON) for _ in layout.STRIDES])
                for _ in range(layout.TOWER)
            ]
        )

    def forward(self, x: Tensor, level: int) -> Tensor:
        """Features of level number `level`, same shape."""
        for conv, norms in zip(self.convs, self.norms):  # noqa: B905 - Paddle's tracer does not know strict
            x = nn.functional.relu6(norms[level](conv(x)))
        return x


class Head(nn.Layer):  # type: ignore[misc]
    """Score, box distances and mask kernel of every location of every level."""

    def __init__(self) -> None:
        super().__init__()
        width = layout.WIDTH
        self.score_tower = Tower()
        self.box_tower = Tower()
        self.score = nn.Conv2D(width, 1, 3, padding=1)
        self.box = nn.Conv2D(width, 4, 3, padding=1)
        self.kernel = nn.Conv2D(width, layout.KERNEL, 3, padding=1)

    def forward(self, levels: list[Tensor]) -> tuple[Tensor, Tensor, Tensor]:
        """Logits [B, L, 1], distances as logarithms [B, L, 4] (left, top, right, bottom), kernels [B, L, KERNEL]."""
        scores, boxes, kernels = [], [], []
        for index, level in enumerate(levels):
            found = self.score_tower(level, index)
            shape = self.box_tower(level, index)
            scores.append(_rows(self.score(found)))
            boxes.append(_rows(self.box(shape)))
            kernels.append(_rows(self.kernel(shape)))
        return paddle.concat(scores, 1), paddle.concat(boxes, 1), paddle.concat(kernels, 1)


def _rows(x: Tensor) -> Tensor:
    """[B, C, H, W] to [B, H*W, C]."""
    return paddle.transpose(paddle.flatten(x, 2), [0, 2, 1])


class PeopleNet(nn.Layer):  # type: ignore[misc]
    """Image [B, 3, S, S] to the head's three tensors and the mask features [B, MASK_FEATURES, S/4, S/4]."""

    def __init__(self) -> None:
        super().__init__()
        self.backbone = Backbone()
        self.pyramid = Pyramid()
        self.mask_branch = MaskBranch()
        self.head = Head()

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Scores, boxes, kernels (as the head gives them) and mask features."""
        taps = self.backbone(image)
        levels = self.pyramid(taps[1:])
        scores, boxes, kernels = self.head(levels)
        return scores, boxes, kernels, self.mask_branch(taps[0], levels[0])
