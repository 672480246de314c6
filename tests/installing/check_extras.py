"""Install every set of extras that the documents name, together and one after another, and check the environments.

`python -m tests.installing.check_extras` makes environments in a temporary directory and removes them. It installs
with uv, which shares the files between them; the versions are those that a user gets today, not those of the lock.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
DOCUMENTS = ("README.md", "docs", "Makefile")
_NAMED = re.compile(r"pip install [^\n]*?(?:maskserve|\.)\[([a-z0-9,-]+)\]|and \"maskserve\[([a-z0-9,-]+)\]\"")
# Environments of their own, as the documents say: numpy 2 in one, PyTorch in the other.
ALONE = {"readers", "train"}
# Tools that pin versions of what the service needs, too: the documents say that each needs an environment.
APART = {"fiftyone", "label-studio"}
_PROBE = """
import importlib.metadata as m, re, sys
numpy = m.version("numpy")
assert "nvidia-pytriton" not in {d.name for d in m.distributions()} or numpy.startswith("1."), f"numpy {numpy}"
import cv2, numpy, maskserve
"""


def named() -> list[tuple[str, ...]]:
    """Return the sets of extras that README, docs and Makefile name, smaller ones first."""
    files = [path for name in DOCUMENTS for path in _texts(ROOT / name)]
    found = {
        tuple(sorted((first or second).split(",")))
        for path in files
        for first, second in _NAMED.findall(path.read_text(encoding="utf-8"))
    }
    return sorted((extras for extras in found if not ALONE & set(extras)), key=lambda extras: (len(extras), extras))


def _texts(path: Path) -> list[Path]:
    return sorted(path.rglob("*.md")) if path.is_dir() else [path]


class Environment:
    """A virtual environment that extras are added to.

    Args:
        uv: the executable.
        path: where it is made.
    """

    def __init__(self, uv: Path, path: Path) -> None:
        self._uv, self._python = uv, path / "bin" / "python"
        self._run("venv", "--quiet", "--seed", "--python", sys.executable, str(path))

    def add(self, extras: tuple[str, ...]) -> None:
        """Install `extras`, and check that all that is there fits together."""
        print(f"  [{','.join(extras)}]", flush=True)
        what = f"maskserve[{','.join(extras)}] @ {ROOT.as_uri()}"
        self._run("pip", "install", "--quiet", "--python", str(self._python), what)
        self._run("pip", "check", "--quiet", "--python", str(self._python))
        subprocess.run([self._python, "-c", _PROBE], check=True)

    def _run(self, *words: str) -> None:
        subprocess.run([self._uv, *words], check=True)


def main() -> int:
    """Check all sets; an error ends it."""
    every = named()
    apart = [extras for extras in every if APART & set(extras)]
    sets = [extras for extras in every if extras not in apart]
    if not sets:
        raise SystemExit("the documents name no extras")
    with tempfile.TemporaryDirectory(prefix="maskserve-extras-") as scratch:
        place = Path(scratch)
        subprocess.run([sys.executable, "-m", "venv", place / "uv"], check=True)
        subprocess.run([place / "uv/bin/python", "-m", "pip", "install", "--quiet", "uv"], check=True)
        uv = place / "uv/bin/uv"
        print("one after another", flush=True)
        growing = Environment(uv, place / "growing")
        for extras in sets:
            growing.add(extras)
        print("together", flush=True)
        Environment(uv, place / "together").add(tuple(sorted({extra for extras in sets for extra in extras})))
        print("each in an environment of its own", flush=True)
        for extras in apart:
            Environment(uv, place / "-".join(extras)).add(extras)
    return 0


if __name__ == "__main__":
    sys.exit(main())
