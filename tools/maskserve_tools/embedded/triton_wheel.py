"""The tritonserver that the `nvidia-pytriton` wheel carries, and the backend directory it needs.

The wheel keeps the python backend's library and its stubs (one per Python version) in different folders, while
Triton looks for the stub beside the library. So every server gets a small backend directory of its own.
"""

from __future__ import annotations

import importlib.util
import platform
import sys
from dataclasses import dataclass
from pathlib import Path

from maskserve.errors import ToolError

RELEASE = "2.51 (24.10, October 2024)"
_INSTALL = 'pip install "maskserve[embedded]"'
_STUB = "triton_python_backend_stub"
_PYTHONS = ((3, 10), (3, 12))


@dataclass(frozen=True, slots=True)
class TritonWheel:
    """Where the parts of an installed `nvidia-pytriton` lie.

    Attributes:
        root: the folder that holds `bin/tritonserver`, `backends` and `python_backend_stubs`.
        libraries: the shared libraries that the wheel bundles.
    """

    root: Path
    libraries: Path

    @property
    def binary(self) -> Path:
        """The tritonserver executable."""
        return self.root / "bin" / "tritonserver"

    def python_backend_files(self, python: tuple[int, int]) -> list[Path]:
        """Return what the python backend consists of for one Python version.

        Raises:
            ToolError: the wheel has no stub for `python`.
        """
        backend = self.root / "backends" / "python"
        stub = self.root / "python_backend_stubs" / f"{python[0]}.{python[1]}" / _STUB
        if not stub.is_file():
            raise ToolError(f"nvidia-pytriton has no python backend for Python {python[0]}.{python[1]}")
        return [backend / "libtriton_python.so", backend / "triton_python_backend_utils.py", stub]


def find_triton_wheel() -> TritonWheel:
    """Find the installed wheel without importing it.

    Raises:
        ToolError: `nvidia-pytriton` is not installed here, or its layout is not the expected one.
    """
    spec = importlib.util.find_spec("pytriton")
    if spec is None or spec.origin is None:
        _check_system()
        raise ToolError(f"the embedded server is not installed in this Python ({sys.prefix}): {_INSTALL}")
    package = Path(spec.origin).parent
    wheel = TritonWheel(root=package / "tritonserver", libraries=package.parent / "nvidia_pytriton.libs")
    for path in (wheel.binary, wheel.libraries):
        if not path.exists():
            raise ToolError(f"nvidia-pytriton is not laid out as expected, {path} is missing: {_INSTALL}")
    return wheel


def _check_system() -> None:
    """Say where the wheel could not be installed at all.

    Raises:
        ToolError: this system is another than those that the wheel is for.
    """
    python = sys.version_info[:2]
    if sys.platform == "linux" and platform.machine() == "x86_64" and _PYTHONS[0] <= python <= _PYTHONS[1]:
        return
    raise ToolError(
        f"the embedded server runs on Linux x86-64 with Python 3.10 to 3.12, and this is {sys.platform} "
        f"{platform.machine()} with Python {python[0]}.{python[1]}: run the model in this process (server=False), or "
        "name a server that runs elsewhere with url="
    )


def link_backend_directory(wheel: TritonWheel, target: Path) -> Path:
    """Make a directory for `--backend-directory`, out of links into the wheel, for the running Python."""
    python_backend = target / "python"
    python_backend.mkdir(parents=True)
    for file in wheel.python_backend_files(sys.version_info[:2]):
        (python_backend / file.name).symlink_to(file)
    return target
