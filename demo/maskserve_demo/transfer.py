"""Weights from the torch twin to the Paddle network: same names, only the running statistics are spelt otherwise."""

from __future__ import annotations

import paddle
from torch import Tensor

from .network import PeopleNet

_SPELLING = {"running_mean": "_mean", "running_var": "_variance"}


def paddle_name(name: str) -> str:
    """`head.norm.running_mean` -> `head.norm._mean`."""
    stem, _, last = name.rpartition(".")
    return f"{stem}.{_SPELLING.get(last, last)}"


def transfer(weights: dict[str, Tensor], network: PeopleNet) -> None:
    """Fill `network` with the twin's `weights`; refuses a tensor too many, too few or of another shape."""
    values = {paddle_name(name): value for name, value in weights.items() if not name.endswith("num_batches_tracked")}
    state = network.state_dict()
    if set(values) != set(state):
        raise ValueError(f"weights do not fit: {sorted(set(values) ^ set(state))}")
    for name, target in state.items():
        value = values[name]
        if list(value.shape) != list(target.shape):
            raise ValueError(f"{name}: {list(value.shape)} instead of {list(target.shape)}")
        target.set_value(paddle.to_tensor(value.detach().float().numpy()))
