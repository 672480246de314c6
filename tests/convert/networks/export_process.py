"""The export of a cell as a process of its own: Paddle sometimes dies while it builds the branches of an R-CNN.

The command line is `python -m tests.convert.networks.export_process CELL FOLDER`, the cell as JSON.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path

from tests.convert.networks.exporting import Cell, export

_ROOT = Path(__file__).parents[3]
_TRIES = 4  # five of about two hundred died, in Paddle's `pir::Value::type`


def export_apart(cell: Cell, folder: Path) -> Path:
    """Do what `export` does in a child, and once more where a signal ended that.

    Raises:
        AssertionError: it failed, or died every time.
    """
    command = [sys.executable, "-W", "ignore", "-m", __name__, json.dumps(asdict(cell)), str(folder)]
    for _ in range(_TRIES):
        done = subprocess.run(command, cwd=_ROOT, capture_output=True, encoding="utf-8", errors="replace", check=False)
        if done.returncode == 0:
            return folder
        shutil.rmtree(folder, ignore_errors=True)
        if done.returncode > 0:
            break
    raise AssertionError(f"the export of {cell} ended with {done.returncode}: {done.stderr[-2000:]}")


def _main(cell: str, folder: str) -> None:
    from tests.convert.networks.families import NETWORKS

    chosen = Cell(**json.loads(cell))
    export(chosen, NETWORKS[chosen.family], Path(folder))


if __name__ == "__main__":
    _main(*sys.argv[1:])
