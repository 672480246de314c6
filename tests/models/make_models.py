"""Write Paddle inference folders with real architectures and seeded weights.

    python -m tests.models.make_models OUT [NAME ...] [--recipes DIR] [--well-conditioned]

A recipe is a folder of `inference.yml`, the program (`inference.json.gz` or `inference.pdmodel`), `weights.json.gz` and
`weights.npz`. `weights.json.gz` lists the tensors in the order of the parameter file: name, dtype, shape, scale. A
tensor with a scale is drawn from a generator that its name seeds. A tensor without one is stored in `weights.npz`.

With `--well-conditioned` the weights get the rules of `conditioning.py`, and the statistics of batch normalisation are
measured again (`normalisation.py`, which needs paddlepaddle). Rounding then moves an answer as little as it moves the
answer of a trained model. Without it the weights are noise, and some of the networks amplify rounding: a stress test.
"""

from __future__ import annotations

import argparse
import gzip
import json
import os
import re
import shutil
import struct
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
Weights = dict[str, Array]

PROGRAM, LEGACY_PROGRAM, PARAMETERS = "inference.json", "inference.pdmodel", "inference.pdiparams"
# Paddle's numbers for element types, as its parameter files store them.
DTYPE_CODES = {
    "bool": 0,
    "int16": 1,
    "int32": 2,
    "int64": 3,
    "float16": 4,
    "float32": 5,
    "float64": 6,
    "uint8": 20,
    "int8": 21,
}


class RecipeError(Exception):
    """A recipe cannot be made as asked; the message names it and the remedy."""


class Tensor(NamedTuple):
    """One line of `weights.json.gz`; `scale` is None for a tensor that `weights.npz` stores."""

    name: str
    dtype: str
    shape: list[int]
    scale: float | None

    @property
    def layer(self) -> str:
        """Return the layer's name: `linear_3` for `linear_3.w_0_deepcopy_300`."""
        return self.name.split(".")[0]

    @property
    def is_bias(self) -> bool:
        """Return whether the tensor is a layer's bias."""
        return ".b_" in self.name

    @property
    def position(self) -> int:
        """Return the number that the exporter counted up: later layers have larger ones."""
        return int(self.name.rsplit("_", 1)[1])


def read_tensors(recipe: Path) -> list[Tensor]:
    """Return the tensors of a recipe, in the order of the parameter file."""
    return [Tensor(*line) for line in json.loads(gzip.decompress((recipe / "weights.json.gz").read_bytes()))]


def seeded(name: str, shape: list[int]) -> npt.NDArray[np.float32]:
    """Return standard normal values, float32, that depend on the tensor's name alone."""
    base = re.sub(r"_deepcopy_\d+$", "", name)
    generator = np.random.RandomState(zlib.crc32(base.encode()) & 0x7FFFFFFF)
    return generator.standard_normal(size=shape).astype(np.float32)


def make_weights(recipe: Path, tensors: list[Tensor]) -> Weights:
    """Return all weights of a recipe by name."""
    with np.load(recipe / "weights.npz") as stored:
        return {
            one.name: (stored[one.name] if one.scale is None else seeded(one.name, one.shape) * np.float32(one.scale))
            .astype(one.dtype)
            .reshape(one.shape)
            for one in tensors
        }


def write_weights(path: Path, weights: Mapping[str, Array]) -> None:
    """Write Paddle's combined parameter file: the tensors in the mapping's order, without their names."""
    with path.open("wb") as file:
        for array in weights.values():
            _write_tensor(file, array)


def _write_tensor(file: BinaryIO, array: Array) -> None:
    """Write one tensor: version, no LoD, version, the length of the description, the description, raw data."""
    sides = b"".join(b"\x10" + _varint(side) for side in array.shape)
    description = b"\x08" + _varint(DTYPE_CODES[str(array.dtype)]) + sides
    file.write(struct.pack("<IQIi", 0, 0, 0, len(description)) + description + np.ascontiguousarray(array).tobytes())


def _varint(value: int) -> bytes:
    out = b""
    while value > 127:
        out, value = out + bytes([value & 127 | 128]), value >> 7
    return out + bytes([value])


def make(recipe: Path, target: Path, *, well_conditioned: bool = False) -> Path:
    """Write one recipe as an ordinary Paddle inference folder.

    Args:
        recipe: the recipe's folder.
        target: where the Paddle folder is written.
        well_conditioned: apply the rules of `conditioning.py`; needs paddlepaddle.

    Returns:
        `target`.

    Raises:
        RecipeError: `well_conditioned` and the program has the older format, whose graph is not read here.
    """
    compressed = recipe / f"{PROGRAM}.gz"
    if well_conditioned and not compressed.exists():
        raise RecipeError(f"{recipe.name} has an {LEGACY_PROGRAM}: --well-conditioned needs a model with {PROGRAM}")
    target.mkdir(parents=True, exist_ok=True)
    shutil.copy(recipe / "inference.yml", target)
    if compressed.exists():
        (target / PROGRAM).write_bytes(gzip.decompress(compressed.read_bytes()))
    else:
        shutil.copy(recipe / LEGACY_PROGRAM, target)
    tensors = read_tensors(recipe)
    weights = make_weights(recipe, tensors)
    if well_conditioned:
        from tests.models.conditioning import condition
        from tests.models.normalisation import activated_biases, measure

        program = json.loads((target / PROGRAM).read_text(encoding="utf-8"))
        weights = condition(tensors, weights, activated_biases(program))
        weights.update(measure(program, weights))
    write_weights(target / PARAMETERS, weights)
    return target


def main() -> None:
    """Make the models that the command line names."""
    shared = Path(os.environ.get("MASKSERVE_SHARED", Path(__file__).resolve().parents[3] / "shared"))
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path, metavar="OUT", help="the Paddle folders are written to OUT/NAME")
    parser.add_argument("names", nargs="*", metavar="NAME", help="recipes to make; all of them by default")
    parser.add_argument("--recipes", type=Path, default=shared / "models", metavar="DIR", help="default: %(default)s")
    parser.add_argument("--well-conditioned", action="store_true", help="weights that do not amplify rounding")
    arguments = parser.parse_args()
    known = sorted(path.parent.name for path in arguments.recipes.glob("*/weights.npz"))
    if unknown := sorted(set(arguments.names) - set(known)):
        parser.error(f"{arguments.recipes} has no recipe {', '.join(unknown)}; it has: {', '.join(known) or 'none'}")
    if arguments.well_conditioned and not arguments.names:
        known = [name for name in known if (arguments.recipes / name / f"{PROGRAM}.gz").exists()]
    for name in arguments.names or known:
        try:
            made = make(arguments.recipes / name, arguments.out / name, well_conditioned=arguments.well_conditioned)
        except RecipeError as error:
            parser.error(str(error))
        print(made, flush=True)


if __name__ == "__main__":
    main()
