"""The texts that other programs and people rely on: `--help`, the OpenAPI document, the keys of `doctor --json`.

    python -m tests.golden.write     (make golden)

writes them anew into the files beside this module. `test_golden.py` compares them.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
from collections.abc import Mapping
from pathlib import Path
from unittest import mock

FOLDER = Path(__file__).parent
REPOSITORY = FOLDER.parent / "persisted" / "repository_0.1"


def documents() -> dict[str, str]:
    """Return every text by the name of its file."""
    return {**_helps(), "openapi.json": _openapi(), "doctor.json": _doctor()}


def printed(arguments: list[str], environment: Mapping[str, str]) -> str:
    """Return what the command line prints on standard output."""
    from maskserve_tools.cli import main

    output = io.StringIO()
    told = mock.patch.dict(os.environ, environment)
    with told, contextlib.redirect_stdout(output), contextlib.suppress(SystemExit):
        main(arguments)
    return output.getvalue()


def _helps() -> dict[str, str]:
    from maskserve_tools.cli import COMMANDS

    words = {"maskserve": [], **{name.replace("_", "-"): [name.replace("_", "-")] for name in COMMANDS}}
    words |= {f"annotate-{tool}": ["annotate", tool] for tool in ("label-studio", "cvat")}
    return {f"help-{name}.txt": printed([*given, "--help"], {"COLUMNS": "100"}) for name, given in words.items()}


def _openapi() -> str:
    from maskserve_gateway.app import create_app
    from maskserve_gateway.settings import Settings

    document = create_app(Settings(urls=("grpc://localhost:8001",), model="NAME")).openapi()
    return json.dumps(document, indent=1, sort_keys=True, ensure_ascii=False) + "\n"


def _doctor() -> str:
    """What `doctor --json` says of the kept repository; of the machine the keys alone, which differs everywhere."""
    records = json.loads(printed(["doctor", "--json", str(REPOSITORY)], {}))
    texts = [record for record in records if record["of"] == "repository"]
    shown = json.dumps({"keys": sorted({key for record in records for key in record}), "repository": texts}, indent=1)
    return shown.replace(str(REPOSITORY), "REPOSITORY") + "\n"


def main() -> None:
    """Write the files."""
    for name, text in documents().items():
        (FOLDER / name).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
