"""What a command needs beside the base install: found out before anything is fetched, converted or started."""

from __future__ import annotations

import sys
from importlib.util import find_spec
from typing import Final

from maskserve.errors import ToolError
from maskserve_server.engine_table import ENGINES, PADDLE, SERVER_EXTRA

# The packages that show whether an extra is installed; of those in one text, any will do.
_ENGINES = " ".join(engine.module for engine in ENGINES if engine.extra == SERVER_EXTRA)
_PROBES: Final[dict[str, tuple[str, ...]]] = {
    "batch": ("ray", "pandas", "pyarrow"),
    "convert": (PADDLE.module, "paddle2onnx", "onnx_ir"),
    "cvat": ("cvat_sdk",),
    "embedded": ("pytriton", _ENGINES),
    "gateway": ("aiohttp", "fastapi", "fastapi_offline", "httptools", "prometheus_client", "uvicorn", "uvloop"),
    "int8": ("nncf",),
    "label-studio": ("fastapi", "label_studio_sdk", "uvicorn"),
    "local": (_ENGINES,),
    SERVER_EXTRA: (_ENGINES,),
}


def need(what: str, *extras: str) -> None:
    """Make sure that extras are installed.

    Args:
        what: the command, for the message.
        extras: all that it will need.

    Raises:
        ToolError: a package of one of them is missing; the message has one line that installs all extras.
    """
    missing = missing_packages(*extras)
    if missing:
        raise ToolError(f"{what} needs {', '.join(missing)}: {install_line(*extras)}")


def missing_packages(*extras: str) -> list[str]:
    """Return the packages of extras that are not installed. Nothing is imported."""
    found = []
    for extra in extras:
        for alternatives in _PROBES[extra]:
            names = alternatives.split()
            if not any(map(_is_there, names)):
                found.append(names[0])
    return list(dict.fromkeys(found))


def install_line(*extras: str) -> str:
    """Return the command that installs extras; without one, the base install."""
    named = ",".join(sorted(filter(None, extras)))
    return f'pip install "maskserve[{named}]"' if named else "pip install maskserve"


def extra_of(module: str) -> str:
    """Return the extra that a module is of; "" for the base install."""
    package = module.partition(".")[0]
    return next((extra for extra, probes in _PROBES.items() if package in " ".join(probes).split()), "")


def _is_there(package: str) -> bool:
    if package in sys.modules:
        return sys.modules[package] is not None
    return find_spec(package) is not None
