"""Which Python a decoder's process runs in, and how: a clean one, with the packages of this process."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from maskserve.errors import ToolError

if TYPE_CHECKING:
    from collections.abc import Iterator

# This process may be a Python inside of Triton's stub: `sys.executable` is whatever that is called, and the packages
# are where its `sys.path` says. Nothing else of it is handed on, neither modules nor variables, which may be keys.
_PROGRAM = """
import sys
arguments, sys.path[:] = sys.argv[1:6], sys.argv[6:]
from maskserve.decoding.worker import main
connection, file, parent, seconds, memory = arguments
main(int(connection), int(file), int(parent), float(seconds), int(memory))
"""
_KEPT_VARIABLES = ("PATH", "LD_LIBRARY_PATH", "LANG", "LC_ALL", "TMPDIR", "HOME")
# One thread, and the memory of one: a limit on memory is of little use where each thread reserves its own.
_ONE_THREAD = {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1", "MALLOC_ARENA_MAX": "1"}


def command(*arguments: object) -> list[str]:
    """Return the command line of a decoder's process.

    Args:
        arguments: of `worker.main`.

    Raises:
        ToolError: there is no interpreter of this version.
    """
    paths = [path for path in sys.path if path]
    return [interpreter(), "-I", "-c", _PROGRAM, *map(str, arguments), *paths]


def environment() -> dict[str, str]:
    """Return the variables that a decoder's process gets."""
    return {name: os.environ[name] for name in _KEPT_VARIABLES if name in os.environ} | _ONE_THREAD


def interpreter() -> str:
    """Return the path of a Python of this version.

    Raises:
        ToolError: there is none.
    """
    for path in _candidates():
        if os.access(path, os.X_OK):
            return path
    version = f"{sys.version_info[0]}.{sys.version_info[1]}"
    raise ToolError(
        f"decoders need a python{version} as a process of its own, and there is none in {sys.prefix}/bin or on "
        "the PATH; install one, or set MASKSERVE_DECODERS=0: then a hostile image can end the model's process"
    )


def _candidates() -> Iterator[str]:
    name = f"python{sys.version_info[0]}.{sys.version_info[1]}"
    if Path(sys.executable or "").name in (name, "python3", "python"):
        yield sys.executable
    for prefix in (sys.prefix, sys.exec_prefix, sys.base_prefix):
        yield os.path.join(prefix, "bin", name)
    yield shutil.which(name) or ""
