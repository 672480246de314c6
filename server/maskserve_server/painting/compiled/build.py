"""Compile the painting of masks into a library that Python loads: here, or for every system at once.

    python build.py            # for this system, with its C compiler or with Zig's (the package ziglang)
    python build.py --all      # for all of them, with Zig's, which compiles for other systems, too

The build of a wheel calls this (`hatch_build.py`). Nothing depends on it: where there is no library, masks are painted
in numpy, with the same pixels.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import zlib
from pathlib import Path

HERE = Path(__file__).parent
LIBRARIES = HERE / "libraries"
# The oldest C library that a wheel of numpy asks for, too; the oldest macOS of Apple's own processors.
TARGETS = {
    "linux-x86_64.so": "x86_64-linux-gnu.2.17",
    "linux-aarch64.so": "aarch64-linux-gnu.2.17",
    "darwin-arm64.dylib": "aarch64-macos.11.0",
    "darwin-x86_64.dylib": "x86_64-macos.11.0",
    "windows-amd64.dll": "x86_64-windows-gnu",
    "windows-arm64.dll": "aarch64-windows-gnu",
}
# No fused multiplication and addition: they round once where numpy rounds twice. No traps: with them GCC compares one
# value at a time.
_OPTIONS = ("-std=c11", "-O3", "-ffp-contract=off", "-fno-trapping-math", "-fvisibility=hidden", "-shared")
_SECONDS = 600  # for Windows Zig first compiles a C library


def name() -> str:
    """Return the file name of this system's library."""
    system = platform.system().lower()
    suffix = {"darwin": "dylib", "windows": "dll"}.get(system, "so")
    return f"{system}-{platform.machine().lower()}.{suffix}"


def digest() -> int:
    """Return a number of the sources, which a library has once more: it shows that it was made of these."""
    value = 0
    for source in sorted(HERE.glob("*.[ch]")):
        value = zlib.crc32(source.read_bytes().replace(b"\r\n", b"\n"), value)
    return value


def compile_here() -> Path | None:
    """Return this system's library, compiled anew; None where there is no compiler, or it fails."""
    if platform.system() != "Windows":
        for compiler in ("cc", "gcc", "clang"):
            found = shutil.which(compiler)
            if found and (library := _compile([found, "-fPIC"], name())):
                return library
    target = TARGETS.get(name())
    return _compile([*_zig(), "-target", target], name()) if target and _zig() else None


def compile_all() -> list[Path]:
    """Return the libraries of all systems.

    Raises:
        RuntimeError: the package ziglang is not installed, or a library could not be compiled.
    """
    if not _zig():
        raise RuntimeError("libraries for other systems need Zig's compiler: pip install ziglang")
    libraries = {library: _compile([*_zig(), "-target", target], library) for library, target in TARGETS.items()}
    missing = [library for library, path in libraries.items() if path is None]
    if missing:
        raise RuntimeError(f"not compiled: {', '.join(missing)}")
    return [path for path in libraries.values() if path]


def _zig() -> list[str]:
    return [sys.executable, "-m", "ziglang", "cc", "-s"] if importlib.util.find_spec("ziglang") else []


def _compile(compiler: list[str], library: str) -> Path | None:
    sources = [str(source) for source in sorted(HERE.glob("*.c"))]
    with tempfile.TemporaryDirectory(
        prefix="maskserve-"
    ) as scratch:  # for Windows there are more files than the library
        made = Path(scratch, library)
        command = [*compiler, *_OPTIONS, f"-DMASKSERVE_DIGEST={digest()}u", *sources, "-o", str(made)]
        try:
            done = subprocess.run(
                command, capture_output=True, encoding="utf-8", errors="replace", check=False, timeout=_SECONDS
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            print(f"{library}: {error}", file=sys.stderr)
            return None
        if done.returncode:
            print(f"{library}: {done.stderr.strip()}", file=sys.stderr)
            return None
        LIBRARIES.mkdir(exist_ok=True)
        new = LIBRARIES / f"{library}.{os.getpid()}"  # others may compile, too
        shutil.copyfile(made, new)
    new.replace(LIBRARIES / library)  # a process may have the old one open
    return LIBRARIES / library


def main() -> int:
    """Print the paths of the libraries that it compiled."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--all", action="store_true", help="for every system, with the package ziglang")
    if parser.parse_args().all:
        made = compile_all()
    else:
        here = compile_here()
        made = [here] if here else []
    print(*made, sep="\n")
    return 0 if made else 1


if __name__ == "__main__":
    sys.exit(main())
