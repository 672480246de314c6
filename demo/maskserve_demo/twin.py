"""The demo network in torch, layer for layer the Paddle one: used for training only.

On two CPU cores Paddle took 5 to 10 times as long as torch for a training step (figures in MODEL_CARD.md),
so the weights are trained here and handed to `network.py`; a test holds the two to the same answers.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from . import layout
from .layout import Block

BN_MOMENTUM = 0.03  # small batches: each one moves the running statistics only a little


class ConvNorm(nn.Module):
    """Convolution, batch normalisation and (unless `linear`) ReLU6."""

    def __init__(
        self, inputs: int, outputs: int, kernel: int, stride: int = 1, *, groups: int = 1, linear: bool = False
    ) -> None:
        super().__init__()
        self.before, self.after = layout.same_padding(kernel, stride)
        self.conv = nn.Conv2d(inputs, outputs, kernel, stride, groups=groups, bias=False)
        self.norm = nn.BatchNorm2d(outputs, eps=layout.BN_EPSILON, momentum=BN_MOMENTUM)
        self.act = nn.Identity() if linear else nn.ReLU6()
        self.fixed = False  # statistics stay as they are: normalisation is folded into the convolution

    def forward(self, x: Tensor) -> Tensor:
        """Features [B, inputs, H, W] to [B, outputs, H/stride, W/stride]."""
        padding = self.before
        if self.before != self.after:
            x, padding = functional.pad(x, (self.before, self.after, self.before, self.after)), 0
        if not self.fixed:
            y = functional.conv2d(x, self.conv.weight, None, self.conv.stride, padding, 1, self.conv.groups)
            return self.act(self.norm(y))
        norm = self.norm
        scale = norm.weight * torch.rsqrt(norm.running_var + norm.eps)
        weight = self.conv.weight * scale[:, None, None, None]
        bias = norm.bias - norm.running_mean * scale
        return self.act(functional.conv2d(x, weight, bias, self.conv.stride, padding, 1, self.conv.groups))


class InvertedResidual(nn.Module):
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


class Backbone(nn.Module):
    """EfficientNet-Lite0 features at strides 4, 8, 16 and 32."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = ConvNorm(3, layout.STEM, 3, 2)
        self.blocks = nn.ModuleList([InvertedResidual(block) for block in layout.BLOCKS])

    def forward(self, image: Tensor) -> list[Tensor]:
        """Image [B, 3, S, S] to the taps, finest first."""
        x = self.stem(image)
        taps = []
        for index, block in enumerate(self.blocks):
            x = block(x)
            if index in layout.TAPS:
                taps.append(x)
        return taps


class Pyramid(nn.Module):
    """Feature pyramid: coarse levels are added to the finer ones, each then smoothed."""

    def __init__(self) -> None:
        super().__init__()
        width = layout.WIDTH
        self.lateral = nn.ModuleList([ConvNorm(c, width, 1, linear=True) for c in layout.TAP_CHANNELS[1:]])
        self.smooth = nn.ModuleList([ConvNorm(width, width, 3) for _ in layout.STRIDES])

    def forward(self, taps: list[Tensor]) -> list[Tensor]:
        """Taps at strides 8, 16, 32 to as many levels of WIDTH channels."""
        levels = [lateral(tap) for lateral, tap in zip(self.lateral, taps, strict=True)]
        for index in range(len(levels) - 1, 0, -1):
            levels[index - 1] = levels[index - 1] + functional.interpolate(
                levels[index], scale_factor=2, mode="nearest"
            )
        return [smooth(level) for smooth, level in zip(self.smooth, levels, strict=True)]


class MaskBranch(nn.Module):
    """Shared mask features [B, MASK_FEATURES, S/4, S/4] from the finest level and the stride-4 tap."""

    def __init__(self) -> None:
        super().__init__()
        width = layout.MASK_WIDTH
        self.coarse = ConvNorm(layout.WIDTH, width, 3)
        self.fine = ConvNorm(layout.TAP_CHANNELS[0], width, 1, linear=True)
        self.convs = nn.ModuleList([ConvNorm(width, width, 3) for _ in range(2)])
        self.out = nn.Conv2d(width, layout.MASK_FEATURES, 1)

    def forward(self, tap: Tensor, level: Tensor) -> Tensor:
        """Stride-4 tap and finest level to the shared mask features."""
        x = functional.interpolate(self.coarse(level), scale_factor=2, mode="bilinear", align_corners=False)
        x = x + self.fine(tap)
        for conv in self.convs:
            x = conv(x)
        return self.out(x)


class Tower(nn.Module):
    """Convolutions shared by all levels, with statistics (batch normalisation) of each level's own."""

    def __init__(self) -> None:
        super().__init__()
        width = layout.WIDTH
        self.convs = nn.ModuleList([nn.Conv2d(width, width, 3, padding=1, bias=False) for _ in range(layout.TOWER)])
        self.norms = nn.ModuleList(
            [
                nn.ModuleList([nn.BatchNorm2d(width, eps=layout.BN_EPSILON) for _ in layout.STRIDES])
                for _ in range(layout.TOWER)
            ]
        )

    def forward(self, x: Tensor, level: int) -> Tensor:
        """Features of level number `level`, same shape."""
        for conv, norms in zip(self.convs, self.norms, strict=True):
            x = functional.relu6(norms[level](conv(x)))
        return x


class Head(nn.Module):
    """Score, box distances and mask kernel of every location of every level."""

    def __init__(self) -> None:
        super().__init__()
        width = layout.WIDTH
        self.score_tower = Tower()
        self.box_tower = Tower()
        self.score = nn.Conv2d(width, 1, 3, padding=1)
        self.box = nn.Conv2d(width, 4, 3, padding=1)
        self.kernel = nn.Conv2d(width, layout.KERNEL, 3, padding=1)
        for conv in (self.score, self.box, self.kernel):
            nn.init.normal_(conv.weight, std=0.01)
            nn.init.zeros_(conv.bias)
        nn.init.constant_(self.score.bias, -math.log(1 / layout.PRIOR - 1))

    def forward(self, levels: list[Tensor]) -> tuple[Tensor, Tensor, Tensor]:
        """Logits [B, L, 1], distances as logarithms [B, L, 4] (left, top, right, bottom), kernels [B, L, KERNEL]."""
        scores, boxes, kernels = [], [], []
        for index, level in enumerate(levels):
            found = self.score_tower(level, index)
            shape = self.box_tower(level, index)
            scores.append(_rows(self.score(found)))
            boxes.append(_rows(self.box(shape)))
            kernels.append(_rows(self.kernel(shape)))
        return torch.cat(scores, 1), torch.cat(boxes, 1), torch.cat(kernels, 1)


def _rows(x: Tensor) -> Tensor:
    """[B, C, H, W] to [B, H*W, C]."""
    return x.flatten(2).transpose(1, 2)


class PeopleNet(nn.Module):
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

    def fix_backbone(self) -> None:
        """Fix the backbone's statistics, its first blocks altogether and the depthwise filters of the others.

        There are too few photos to learn these, and the gradients of depthwise weights and of the large early
        maps are most of what a step costs on a CPU.
        """
        for module in self.backbone.modules():
            if isinstance(module, ConvNorm):
                module.fixed = True
        for part in (self.backbone.stem, *list(self.backbone.blocks)[: layout.FROZEN_BLOCKS]):
            part.requires_grad_(False)
        for block in self.backbone.blocks:
            block.depthwise.requires_grad_(False)
