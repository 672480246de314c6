"""Export a cut program to ONNX with the C++ of Paddle and of Paddle2ONNX alone; run in a child process.

Importing Paddle's Python takes three quarters of a second, and Paddle2ONNX uses none of it for a program in JSON. So
the packages are entered without running their `__init__`. pyproject.toml pins both to one release. Whatever fails here
is done again with Paddle2ONNX's public function: see `export.py`.

The child's command line is `python -m maskserve_convert.paddle.bare_export core.json core.pdiparams core.onnx`.
"""

from __future__ import annotations

import sys
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType

from maskserve_convert.paddle.export import OPSET


def _main(program: str, weights: str, target: str) -> None:
    for package in ("paddle", "paddle.base", "paddle2onnx"):
        _enter(package)
    import_module("paddle.base.libpaddle")  # Paddle2ONNX's library is linked against it
    exporter = import_module("paddle2onnx.paddle2onnx_cpp2py_export")
    Path(target).write_bytes(
        exporter.export(
            program,
            weights,
            OPSET,
            True,  # take a higher opset where an operator needs one
            False,  # talk
            True,  # check the model
            True,  # experimental operators
            True,  # optimise
            {},  # operators of the caller's own
            "onnxruntime",  # deploy backend
            "",  # calibration file
            "",  # file for the weights
            False,  # in float16
        )
    )


def _enter(package: str) -> None:
    """Make the modules of a package importable without running the package's own code, if that did not run before."""
    if package in sys.modules:
        return
    found = find_spec(package)
    if found is None or found.submodule_search_locations is None:
        raise SystemExit(f"{package} is not installed")
    module = ModuleType(package)
    module.__path__ = list(found.submodule_search_locations)
    module.__spec__ = found
    sys.modules[package] = module


if __name__ == "__main__":
    _main(*sys.argv[1:])
