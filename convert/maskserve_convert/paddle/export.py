"""Export a cut program to ONNX with Paddle2ONNX; run in a child process, which it can abort.

The child's command line is `python -m maskserve_convert.paddle.export core.json core.pdiparams core.onnx`.
"""

from __future__ import annotations

import sys
from pathlib import Path

from maskserve.errors import ToolError
from maskserve_convert.child import ChildFailed, run_module

OPSET = 17  # the lowest that has everything the families need; ONNX Runtime and OpenVINO both support it well
_BARE = "maskserve_convert.paddle.bare_export"


def export(program: Path, weights: Path, target: Path) -> None:
    """Write `target` from a cut program, in a child process.

    Raises:
        ToolError: Paddle2ONNX cannot convert the program; the message says why.
    """
    arguments = [str(program), str(weights), str(target)]
    try:
        run_module(_BARE, arguments)
    except ChildFailed:  # the public function may succeed, and says better why not
        target.unlink(missing_ok=True)
        run_module(__name__, arguments)
    if not target.is_file() or not target.stat().st_size:
        raise ToolError("Paddle2ONNX wrote no model and gave no reason")


def _main(program: str, weights: str, target: str) -> None:
    import paddle2onnx

    paddle2onnx.export(program, weights, target, opset_version=OPSET, auto_upgrade_opset=True, optimize_tool="None")
    if not Path(target).is_file() or not Path(target).stat().st_size:
        raise SystemExit("Paddle2ONNX wrote no model")


if __name__ == "__main__":
    _main(*sys.argv[1:])
