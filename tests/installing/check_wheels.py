"""Resolve `[local]` from wheels alone, for each system and Python that the documents name, and print what is missing.

`make wheels` asks the package index; nothing is installed or run. A system that resolves has a wheel for every
dependency.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
SYSTEMS = {
    "Linux x86-64": "x86_64-manylinux_2_28",
    "Linux aarch64": "aarch64-manylinux_2_28",
    "macOS 14 arm64": "aarch64-apple-darwin",
    "Windows x86-64": "x86_64-pc-windows-msvc",
}
PYTHONS = ("3.10", "3.11", "3.12", "3.13", "3.14")


def resolve(uv: Path, platform: str, python: str) -> str:
    """Return what is missing for a system and a Python; "" where all is there."""
    done = subprocess.run(
        [
            *(uv, "pip", "compile", "--quiet", "--no-header", "--only-binary", ":all:", "--python-platform", platform),
            *("--python-version", python, "--extra", "local", str(ROOT / "pyproject.toml")),
        ],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "MACOSX_DEPLOYMENT_TARGET": "14.0"},
        cwd=tempfile.gettempdir(),  # away from the settings of `make lock`
    )
    return "" if done.returncode == 0 else done.stderr.strip()


def main() -> int:
    """Print a table, and what is missing."""
    problems = []
    with tempfile.TemporaryDirectory(prefix="maskserve-wheels-") as scratch:
        subprocess.run([sys.executable, "-m", "venv", scratch], check=True)
        subprocess.run([f"{scratch}/bin/python", "-m", "pip", "install", "--quiet", "uv"], check=True)
        print("| |", " | ".join(PYTHONS), "|")
        print("|---|", "---|" * len(PYTHONS), sep="")
        for system, platform in SYSTEMS.items():
            missing = [resolve(Path(scratch, "bin", "uv"), platform, python) for python in PYTHONS]
            print(f"| {system} |", " | ".join("no" if text else "yes" for text in missing), "|", flush=True)
            problems += [f"{system}, {python}: {text}" for python, text in zip(PYTHONS, missing, strict=True) if text]
    print(*problems, sep="\n")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
