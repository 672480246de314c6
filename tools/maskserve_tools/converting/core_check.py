"""Run a freshly made core once, in a child process: a core that cannot answer must not reach a repository.

The child's command line is `python -m maskserve_tools.converting.core_check VERSION_DIRECTORY`.
"""

from __future__ import annotations

import sys
from pathlib import Path

from maskserve_tools.converting.child import run_module

_SIZE = (240, 320)


def check_core(directory: Path) -> None:
    """Load the core of a version directory with its engine and run it on a generated image.

    Raises:
        ToolError: it does not load, does not run, or answers with something that is not a number.
    """
    run_module(__name__, [str(directory)])


def _main(directory: str) -> None:
    import numpy as np

    from maskserve_server.preprocess import Preprocessor
    from maskserve_server.spec import ModelSpec
    from maskserve_server.stages import Core, feeds

    spec = ModelSpec.read(Path(directory))
    height, width = _SIZE
    ramp = np.linspace(0, 255, height * width * 3).reshape(height, width, 3).astype(np.uint8)
    core = Core(spec, Path(directory), threads=1)
    for name, array in core(feeds(Preprocessor(spec.preprocess)(ramp))).items():
        if not np.isfinite(array).all():
            raise SystemExit(f"the core's output {name} holds values that are not finite")


if __name__ == "__main__":
    _main(*sys.argv[1:])
