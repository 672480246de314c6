"""Compile the painting of masks while a wheel is built, or the project is installed from its source.

Where there is no C compiler, the wheel has no library, and masks are painted in numpy. With MASKSERVE_LIBRARIES=all it
has one for every system, and needs the package ziglang for that. It is the same wheel for all of them either way.
"""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

BUILD = Path(__file__).parent / "server" / "maskserve_server" / "painting" / "compiled" / "build.py"


class CustomBuildHook(BuildHookInterface):
    """Hatch calls it."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Compile, and add what was compiled to the wheel."""
        spec = importlib.util.spec_from_file_location("build_painting", BUILD)
        assert spec is not None and spec.loader is not None
        build = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(build)
        if os.environ.get("MASKSERVE_LIBRARIES") == "all":
            libraries = build.compile_all()
        else:
            here = build.compile_here()
            libraries = [here] if here else []
        if not libraries:
            self.app.display_warning("no C compiler: masks will be painted in numpy, with the same pixels")
        build_data["artifacts"] += [f"/{path.relative_to(self.root).as_posix()}" for path in libraries]
