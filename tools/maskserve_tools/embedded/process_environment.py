"""The environment variables under which tritonserver and its python stubs find this Python.

The stub embeds an interpreter. It ignores PYTHONPATH and VIRTUAL_ENV; what it does honour is the first `python3`
on the PATH, whose prefix becomes its own. So the environment that runs maskserve is the one that runs the models.
"""

from __future__ import annotations

import importlib.metadata
import os
import sys
import sysconfig
import tempfile
from pathlib import Path

from maskserve.errors import ToolError
from maskserve_tools.embedded.triton_wheel import TritonWheel

# They would be honoured by some Python versions and ignored by others, and PYTHONHOME breaks the stub.
_DROPPED = ("PYTHONHOME", "PYTHONPATH")
# Each of glibc's arenas keeps what the largest requests of its threads took. Triton has 160 threads, and glibc eight
# arenas a core: memory that grows for hours, though nothing is lost (docs/reliability.md).
ARENAS = "2"


def server_environment(wheel: TritonWheel) -> dict[str, str]:
    """Return the whole environment for tritonserver.

    Raises:
        ToolError: no `python3` beside the running interpreter, or no shared libpython anywhere.
    """
    environment = {name: value for name, value in os.environ.items() if name not in _DROPPED}
    libraries = [str(wheel.libraries), str(libpython_directory()), environment.get("LD_LIBRARY_PATH", "")]
    environment["LD_LIBRARY_PATH"] = os.pathsep.join(filter(None, libraries))
    environment.setdefault("MALLOC_ARENA_MAX", ARENAS)
    environment["PATH"] = os.pathsep.join([str(_interpreter_directory()), environment.get("PATH", os.defpath)])
    return environment


def ascii_folder() -> str:
    """Return a folder for temporary files whose path is ASCII: the stub's Python cannot import from any other.

    Raises:
        ToolError: there is none.
    """
    for folder in (tempfile.gettempdir(), "/tmp", "/var/tmp", "/dev/shm"):
        if folder.isascii() and os.access(folder, os.W_OK | os.X_OK):
            return folder
    raise ToolError("the embedded server needs a folder for temporary files whose path is ASCII: set TMPDIR to one")


def check_numpy() -> None:
    """Refuse numpy 2: the python stub of this Triton reads BYTES tensors wrong under it and crashes.

    Raises:
        ToolError: numpy is missing or too new.
    """
    try:
        version = importlib.metadata.version("numpy")
    except importlib.metadata.PackageNotFoundError as error:
        raise ToolError('the embedded server needs numpy: pip install "maskserve[embedded]"') from error
    if int(version.split(".")[0]) >= 2:
        raise ToolError(f'numpy {version} kills the embedded server\'s python models: pip install "numpy<2"')


def libpython_directory() -> Path:
    """Return the folder of the running version's shared libpython, which the stub is linked against.

    Raises:
        ToolError: this Python was built without it and none is installed.
    """
    name = f"libpython{sys.version_info[0]}.{sys.version_info[1]}.so.1.0"
    for folder in _library_folders():
        if (folder / name).exists():
            return folder
    raise ToolError(
        f"the embedded server needs {name}, which this Python ({sys.base_prefix}) does not have:"
        f" install it (Debian and Ubuntu: apt-get install libpython{sys.version_info[0]}.{sys.version_info[1]})"
        " or use a Python built with --enable-shared"
    )


def _library_folders() -> list[Path]:
    multiarch = sysconfig.get_config_var("MULTIARCH") or ""
    libdir = sysconfig.get_config_var("LIBDIR") or ""
    # The interpreter's own prefix first: a relocated Python still carries the LIBDIR of the machine it was built on.
    roots = [Path(sys.base_prefix) / "lib", Path(libdir), Path("/usr/lib"), Path("/usr/local/lib")]
    return [folder for root in roots for folder in (root, root / multiarch)]


def _interpreter_directory() -> Path:
    folder = Path(sys.executable).parent
    if not (folder / "python3").exists():
        raise ToolError(f"there is no python3 in {folder}, and the embedded server finds its Python by that name")
    return folder
