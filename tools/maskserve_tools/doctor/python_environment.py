"""The Python that runs the models: its version, numpy, the engines, and whether the embedded server fits it."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Sequence
from importlib.metadata import PackageNotFoundError, version

from maskserve.errors import ToolError
from maskserve_server.engine_table import ENGINES, engine_names, find_engine
from maskserve_server.painting.compiled import build, library
from maskserve_tools.doctor.finding import Finding, ok, problem, warning
from maskserve_tools.doctor.read_entries import ReadEntry
from maskserve_tools.embedded.process_environment import server_environment
from maskserve_tools.embedded.triton_wheel import find_triton_wheel

_PYTHONS = ((3, 10), (3, 12))
_OPENCV = (
    "opencv-python-headless",
    "opencv-python",
    "opencv-contrib-python",
    "opencv-contrib-python-headless",
)
_SERVER_EXTRA = 'pip install "maskserve[embedded]"'

Versions = Callable[[str], str | None]


def installed_version(package: str) -> str | None:
    """Return the version of an installed package; None where it is not there."""
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def check_python(running: tuple[int, int] = sys.version_info[:2]) -> Finding:
    """Check whether maskserve is made for this Python."""
    name = ".".join(map(str, running))
    first, last = _PYTHONS
    if first <= running <= last:
        return ok(f"Python {name}")
    return problem(f"Python {name}", "maskserve is made for 3.10 to 3.12", "make an environment with one of these")


def check_numpy(installed: Versions = installed_version) -> Finding:
    """Check whether numpy and the embedded tritonserver, which runs in the same environment, go together."""
    numpy, wheel = installed("numpy"), installed("nvidia-pytriton")
    if numpy is None:
        return problem("no numpy", "no model can run without it", _SERVER_EXTRA)
    if wheel is not None and int(numpy.split(".")[0]) >= 2:
        why = "the python stub of tritonserver 2.51 reads every BYTES tensor wrong under numpy 2 and crashes"
        return problem(f"numpy {numpy} beside nvidia-pytriton {wheel}", why, 'pip install "numpy<2"')
    return ok(f"numpy {numpy}" + (f", which works with nvidia-pytriton {wheel}" if wheel else ""))


def check_opencv(installed: Versions = installed_version) -> Finding:
    """Check whether OpenCV has published holes.

    A warning, not a problem: maskserve gives it no JPEG file. Other programs of the environment may.
    """
    versions = {package: found for package in _OPENCV if (found := installed(package))}
    holed = {name: found for name, found in versions.items() if (4, 10) <= _major_minor(found) < (4, 12)}
    if not holed:
        return ok("OpenCV " + (", ".join(versions.values()) or "is not there"))
    name, found = next(iter(holed.items()))
    why = (
        "it has CVE-2025-53644: a crafted JPEG writes outside of its memory; maskserve gives it no JPEG files, but "
        "other programs in this environment may"
    )
    if installed("nvidia-pytriton"):
        return ok(f"{name} {found} has CVE-2025-53644 in its JPEG decoder, to which maskserve gives no file")
    return warning(f"{name} {found}", why, f'pip install "{name}>=4.12", which needs numpy 2')


def _major_minor(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", version)[:2])


def check_embedded_server() -> Finding:
    """Check whether `maskserve serve` finds its tritonserver, the stub for this Python and a shared libpython."""
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
    """Check whether the engines of the python models are there, in the versions that they were converted with."""
    return [
        _engine_finding(entry, str(entry.recorded("engine", "name")), installed)
        for entry in entries
        if entry.holds_core and entry.backend == "python"
    ]


def check_painting(installed: Versions = installed_version) -> list[Finding]:
    """Check whether masks are painted by the compiled library, where models may run in this environment."""
    if not any(installed(engine.package) for engine in ENGINES):
        return []
    why = "every mask is painted in numpy: the same pixels, in two to five times the time"
    if library.is_switched_off():
        fix = f"unset {library.SWITCH}, unless that is meant"
        return [warning(f"{library.SWITCH} is 0", why, fix)]
    missing = library.why_missing()
    if missing:
        fix = f"install a C compiler (gcc, or `pip install ziglang`), then `python -m {build.__name__}`"
        return [warning(f"no compiled library to paint masks: {missing}", why, fix)]
    return [ok("masks are painted by the compiled library")]


def check_backends(entries: Sequence[ReadEntry]) -> list[Finding]:
    """Check whether the embedded server, where there is one, has the backends that the entries want."""
    try:
        backends = find_triton_wheel().root / "backends"
    except ToolError:
        return []
    wanting = [entry for entry in entries if entry.backend != "ensemble" and not (backends / entry.backend).is_dir()]
    why = "it has the python backend alone, and serves the other models without this one"
    fix = "run the official container (docker/), or convert the model again without --target"
    return [
        warning(f"{entry.name} runs in Triton's {entry.backend} backend, not in `maskserve serve`", why, fix)
        for entry in wanting
    ]


def _engine_finding(entry: ReadEntry, engine: str, installed: Versions) -> Finding:
    row = find_engine(engine)
    if row is None:
        why = f"this maskserve cannot run it, only {', '.join(engine_names())}"
        return problem(f"{entry.name} was made for {engine}", why, "convert it again")
    package = row.package
    found, recorded = installed(package), entry.recorded("versions", package)
    if found is None:
        why = f"it is not installed here, and {entry.name} does not start without it"
        return problem(f"{entry.name} runs on {package}", why, f'pip install "{package}=={recorded or ""}"'.rstrip("="))
    if recorded is not None and found.split(".")[:2] != str(recorded).split(".")[:2]:
        why = f"it was converted and checked with {recorded}, and another version may answer a little differently"
        fix = f'pip install "{package}=={recorded}", or convert it again, or `maskserve verify` it'
        return warning(f"{entry.name} runs on {package} {found}", why, fix)
    return ok(f"{entry.name} runs on {package} {found}")
