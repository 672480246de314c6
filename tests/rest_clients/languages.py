"""How a client in each language is built and run, with the libraries where Debian's packages and npm put them."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.conftest import ROOT

EXAMPLES = ROOT / "examples" / "clients"
_SHIMS = Path(__file__).parent / "shims"
_JARS = tuple(
    Path("/usr/share/java", f"{name}.jar")
    for name in ("okhttp", "okio", "jackson-annotations", "jackson-core", "jackson-databind")
)
_JSON_NET = Path("/usr/lib/cli/Newtonsoft.Json-5.0/Newtonsoft.Json.dll")
_HTTPLIB = Path("/usr/include/httplib.h")
_JSON_HPP = Path("/usr/include/nlohmann/json.hpp")
_PATIENCE = 300  # seconds for a compiler on a busy machine


@dataclass(frozen=True, slots=True)
class Language:
    """One of the seven.

    Attributes:
        example: our program.
        label: what the seed document's code blocks say.
        main: the file that the seed's program must be in.
        commands: what must be on the PATH.
        files: libraries that must be there.
        build: compiles a program in a folder, the seed's or ours, and gives the command to run it.
    """

    example: Path
    label: str
    main: str
    commands: tuple[str, ...]
    files: tuple[Path, ...]
    build: Callable[[Path, bool], list[str]]

    @property
    def name(self) -> str:
        """The folder of the example."""
        return self.example.parent.name

    def require(self) -> None:
        """Skip the test where the runtime or a library is missing."""
        missing = [c for c in self.commands if shutil.which(c) is None] + [str(f) for f in self.files if not f.exists()]
        if missing:
            pytest.skip(
                f"{self.name}: no {', '.join(missing)} here (tests/rest_clients/install_runtimes.sh {self.name})"
            )

    def built(self, source: Path, folder: Path, *, seed: bool) -> list[str]:
        """The command that runs `source`, compiled in `folder`."""
        program = Path(shutil.copy(source, folder / (self.main if seed else source.name)))
        return self.build(program, seed)


def _compile(*command: str | Path, folder: Path) -> None:
    done = subprocess.run(
        [str(word) for word in command], cwd=folder, capture_output=True, text=True, timeout=_PATIENCE, check=False
    )
    assert done.returncode == 0, f"{command[0]} failed:\n{done.stdout}{done.stderr}"


def _python(program: Path, seed: bool) -> list[str]:
    pytest.importorskip("requests", reason="python: no requests here (pip install requests)")
    return [sys.executable, str(program)]


def _cpp(program: Path, seed: bool) -> list[str]:
    # The seed declares outputImagePath and uses outPutImagePath; naming one the other leaves its text alone.
    extra = [f"-I{_SHIMS / 'cpp'}", "-DoutPutImagePath=outputImagePath"] if seed else ["-Wall", "-Wextra", "-Werror"]
    # Debian's library is built with options that change its classes; its header must be read with the same ones.
    library = subprocess.run(
        ["pkg-config", "--cflags", "--libs", "cpp-httplib"], capture_output=True, text=True, check=True
    )
    words: list[str | Path] = [
        "-std=c++17",
        *extra,
        f"-I{EXAMPLES / 'cpp'}",
        program,
        "-o",
        "client",
        *library.stdout.split(),
        "-pthread",
    ]
    _compile("g++", *words, folder=program.parent)
    return [str(program.parent / "client")]


def _java(program: Path, seed: bool) -> list[str]:
    shims = sorted((_SHIMS / "okhttp4").glob("*.java")) if seed else []
    jars = ":".join(map(str, _JARS))
    _compile("javac", "-cp", jars, "-d", program.parent, program, *shims, folder=program.parent)
    return ["java", "-cp", f"{program.parent}:{jars}", program.stem]


def _go(program: Path, seed: bool) -> list[str]:
    _compile("go", "build", "-o", "client", program.name, folder=program.parent)
    return [str(program.parent / "client")]


def _csharp(program: Path, seed: bool) -> list[str]:
    folder = program.parent
    shutil.copy(_JSON_NET, folder)
    references = ("-r:System.Net.Http.dll", f"-r:{_JSON_NET}")
    if not seed:
        _compile("mcs", *references, "-out:client.exe", program, folder=folder)
        return ["mono", str(folder / "client.exe")]
    _compile("mcs", *references, "-target:library", "-out:program.dll", program, folder=folder)
    _compile("mcs", "-out:launcher.exe", _SHIMS / "csharp" / "Launcher.cs", folder=folder)
    return ["mono", str(folder / "launcher.exe"), str(folder / "program.dll")]


def _nodejs(program: Path, seed: bool) -> list[str]:
    shutil.copy(EXAMPLES / "nodejs" / "package.json", program.parent)
    install = ["npm", "install", "--no-audit", "--no-fund", "--silent", "--prefer-offline"]
    if subprocess.run(install, cwd=program.parent, capture_output=True, check=False, timeout=_PATIENCE).returncode:
        pytest.skip("nodejs: npm cannot install axios here")
    return ["node", str(program)]


def _php(program: Path, seed: bool) -> list[str]:
    extensions = subprocess.run(["php", "-m"], capture_output=True, text=True, check=True).stdout.split()
    if "curl" not in extensions:
        pytest.skip("php: no curl extension here (tests/rest_clients/install_runtimes.sh php)")
    return ["php", str(program)]


LANGUAGES = (
    Language(EXAMPLES / "python" / "client.py", "python", "main.py", (), (), _python),
    Language(EXAMPLES / "cpp" / "client.cpp", "cpp", "main.cpp", ("g++", "pkg-config"), (_HTTPLIB, _JSON_HPP), _cpp),
    Language(EXAMPLES / "java" / "Client.java", "java", "Main.java", ("javac", "java"), _JARS, _java),
    Language(EXAMPLES / "go" / "client.go", "go", "main.go", ("go",), (), _go),
    Language(EXAMPLES / "csharp" / "Client.cs", "csharp", "Program.cs", ("mcs", "mono"), (_JSON_NET,), _csharp),
    Language(EXAMPLES / "nodejs" / "client.js", "js", "main.js", ("node", "npm"), (), _nodejs),
    Language(EXAMPLES / "php" / "client.php", "php", "main.php", ("php",), (), _php),
)
