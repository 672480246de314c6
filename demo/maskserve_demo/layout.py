"""The network's dimensions, shared by its two definitions (Paddle, which ships, and torch, which trains)."""

from __future__ import annotations

from dataclasses import dataclass

SIZE = 384  # side of the square input, pixels
LABEL = "person"

# Input normalisation of EfficientNet-Lite: (pixel - 127) / 128, as fractions of 255.
MEAN = 127 / 255
STD = 128 / 255


@dataclass(frozen=True)
class Block:
    """One inverted-residual block: 1x1 expansion, depthwise convolution, 1x1 projection."""

    inputs: int
    outputs: int
    expansion: int
    stride: int
    kernel: int


STEM = 32  # channels after the first convolution (stride 2)

# EfficientNet-Lite0 without its last block (320 channels) and its classifier.
BLOCKS: tuple[Block, ...] = (
    Block(32, 16, 1, 1, 3),
    Block(16, 24, 6, 2, 3),
    Block(24, 24, 6, 1, 3),
    Block(24, 40, 6, 2, 5),
    Block(40, 40, 6, 1, 5),
    Block(40, 80, 6, 2, 3),
    Block(80, 80, 6, 1, 3),
    Block(80, 80, 6, 1, 3),
    Block(80, 112, 6, 1, 5),
    Block(112, 112, 6, 1, 5),
    Block(112, 112, 6, 1, 5),
    Block(112, 192, 6, 2, 5),
    Block(192, 192, 6, 1, 5),
    Block(192, 192, 6, 1, 5),
    Block(192, 192, 6, 1, 5),
)

# Blocks whose results are used, at strides 4, 8, 16 and 32, and their channels.
TAPS = (2, 4, 10, 14)
TAP_CHANNELS = (24, 40, 112, 192)
FROZEN_BLOCKS = 5  # the stem and this many blocks keep their ImageNet weights

STRIDES = (8, 16, 32)  # of the levels that find people
WIDTH = 96  # channels of the pyramid and of the towers
TOWER = 2  # convolutions in each tower
BOX_UNIT = 4.0  # a box side of exp(0) lies this many strides away from its location

# The mask of each person is painted by a network of its own: three 1x1 convolutions whose weights
# the kernel branch predicts (CondInst), over shared features and the position within the person's box.
MASK_STRIDE = 4
MASK_WIDTH = 64  # channels inside the mask branch
MASK_FEATURES = 16
HIDDEN = 8
FIRST = HIDDEN * (MASK_FEATURES + 2)  # weights of the first layer: features, then x and y
KERNEL_PARTS = (FIRST, HIDDEN, HIDDEN * HIDDEN, HIDDEN, HIDDEN, 1)  # weight, bias of layers 1, 2, 3
KERNEL = sum(KERNEL_PARTS)
MIN_BOX = 0.02  # boxes count as at least this wide and high (fraction of the image) in mask coordinates

BN_EPSILON = 1e-3
PRIOR = 0.01  # score every location starts with


def same_padding(kernel: int, stride: int) -> tuple[int, int]:
    """Padding (before, after) of TensorFlow's SAME rule, which the backbone's weights were trained with.

    Holds for sides that the stride divides, as all sides here are.
    """
    total = kernel - stride
    return total // 2, total - total // 2
