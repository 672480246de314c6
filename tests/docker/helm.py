"""Helm: the program where it is on the PATH, or else its engine in the package helm-python-sdk.

The package runs in a process of its own: it brings Go's runtime, with threads and signal handlers.
"""

from __future__ import annotations

import importlib.util
import json
import shutil
import subprocess
import sys
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.docker.conftest import DOCKER

CHART = DOCKER / "helm" / "maskserve"
RELEASE = "maskserve"
NAMESPACE = "segmentation"

_ENGINE = """
import json, sys
import helm_python as helm

action, chart, release, namespace, values = sys.argv[1:]
values = json.loads(values)
try:
    if action == "lint":
        found = [m for m in helm.lint(chart, values, strict=True)["messages"] if m["severity"] > 1]
        if found:
            sys.exit(json.dumps(found))
    else:
        with helm.Chart.load(chart) as loaded:
            loaded.validate_schema(values)
            for name, text in loaded.render(values, name=release, namespace=namespace).items():
                print(text if not name.endswith(".txt") else "", "---", sep="\\n")
except helm.HelmError as error:
    sys.exit(str(error))
"""


class HelmRefusal(Exception):
    """What Helm says on standard error."""


def _line(action: str, values: Mapping[str, Any], release: str, folder: Path) -> list[str]:
    program = shutil.which("helm")
    if program is not None:
        file = folder / "values.json"
        file.write_text(json.dumps(values), encoding="utf-8")
        named = [release, str(CHART), f"--namespace={NAMESPACE}"] if action == "template" else [str(CHART), "--strict"]
        return [program, action, *named, f"--values={file}"]
    if importlib.util.find_spec("helm_python") is None:
        pytest.skip("Helm is not installed: neither the program helm nor the package helm-python-sdk is here")
    return [sys.executable, "-c", _ENGINE, action, str(CHART), release, NAMESPACE, json.dumps(values)]


def helm(action: str, values: Mapping[str, Any], folder: Path, release: str = RELEASE) -> str:
    """Run `helm template` or `helm lint` and return what it prints; the test is skipped where Helm is missing.

    Raises:
        HelmRefusal: it ended with an error.
    """
    line = _line(action, values, release, folder)
    done = subprocess.run(line, capture_output=True, text=True, timeout=60, check=False)
    if done.returncode != 0:
        raise HelmRefusal(done.stdout + done.stderr)
    return done.stdout


def render(values: Mapping[str, Any], folder: Path, release: str = RELEASE) -> dict[tuple[str, str], dict[str, Any]]:
    """The objects of a release, by kind and name."""
    documents = [document for document in yaml.safe_load_all(helm("template", values, folder, release)) if document]
    found = {(document["kind"], document["metadata"]["name"]): document for document in documents}
    assert len(found) == len(documents)
    return found


@cache
def default_values() -> dict[str, Any]:
    """What values.yaml says."""
    values = yaml.safe_load((CHART / "values.yaml").read_text(encoding="utf-8"))
    assert isinstance(values, dict)
    return values


def merged(defaults: Mapping[str, Any], values: Mapping[str, Any]) -> dict[str, Any]:
    """Merge as Helm does: maps key by key, everything else as a whole, null removes."""
    result = dict(defaults)
    for key, value in values.items():
        if value is None:
            result.pop(key, None)
        elif isinstance(value, Mapping) and isinstance(result.get(key), Mapping):
            result[key] = merged(result[key], value)
        else:
            result[key] = value
    return result
