"""The examples that do without our client, against a real server; our client says what they must find."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from PIL import Image

from maskserve import create_pipeline
from maskserve_tools.cli import main
from tests.conftest import DEMO, ROOT

if TYPE_CHECKING:
    from maskserve import InstanceSegResult
    from maskserve_tools.embedded import Server

EXAMPLES = ROOT / "examples" / "kserve"


@pytest.fixture(scope="module")
def expected(server: Server, two_people: Path) -> InstanceSegResult:
    with create_pipeline(DEMO, url=server.grpc_url, threshold=0.5) as pipeline:
        (result,) = pipeline.predict(two_people)
    assert len(result.instances) > 1, "this image proves too little"
    return result


def _run(*command: object, folder: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(word) for word in command],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
        env={**os.environ, **environment},
    )


@pytest.mark.parametrize("threshold", ["0.5", ""], ids=["threshold", "its own"])
def test_curl(server: Server, expected: InstanceSegResult, two_people: Path, tmp_path: Path, threshold: str) -> None:
    if not shutil.which("curl"):
        pytest.skip("there is no curl on this machine")
    done = _run("bash", EXAMPLES / "curl.sh", DEMO, two_people, threshold, server.http_url, folder=tmp_path)
    assert done.returncode == 0, done.stderr
    outputs = {output["name"]: output for output in json.loads(done.stdout)["outputs"]}
    instances = expected.instances
    assert outputs["SCORES"]["data"] == pytest.approx(instances.scores.tolist())
    assert [counts.encode() for counts in outputs["MASKS"]["data"]] == [mask.counts for mask in instances.masks]


def test_curl_says_what_is_wrong(server: Server, tmp_path: Path) -> None:
    if not shutil.which("curl"):
        pytest.skip("there is no curl on this machine")
    (tmp_path / "notes.txt").write_text("this is no image")
    done = _run("bash", EXAMPLES / "curl.sh", DEMO, "notes.txt", "", server.http_url, folder=tmp_path)
    assert done.returncode != 0
    assert "error" in json.loads(done.stdout)


@pytest.mark.parametrize("protocol", ["grpc", "http"])
def test_tritonclient(
    server: Server, expected: InstanceSegResult, two_people: Path, tmp_path: Path, protocol: str
) -> None:
    if protocol == "http":
        pytest.importorskip("geventhttpclient", reason="HTTP needs tritonclient[http]", exc_type=ImportError)
    url = server.grpc_url if protocol == "grpc" else server.http_url
    done = _run(sys.executable, EXAMPLES / "segment.py", DEMO, two_people, url, "best.png", folder=tmp_path)
    assert done.returncode == 0, done.stderr
    found = re.findall(r"^(\w+) ([\d.]+) at .*, (\d+) pixels$", done.stdout, re.M)
    instances = expected.instances
    assert [label for label, _, _ in found] == list(instances.labels)
    assert [float(score) for _, score, _ in found] == pytest.approx(instances.scores.tolist(), abs=1e-4)
    assert [int(area) for _, _, area in found] == [mask.area for mask in instances.masks]
    best = instances.masks[int(instances.scores.argmax())].decode()
    with Image.open(tmp_path / "best.png") as image:
        assert np.array_equal(np.asarray(image) > 0, best > 0)


def test_perf_analyzer(server: Server, tmp_path: Path) -> None:
    pytest.importorskip("pytriton", reason="perf_analyzer needs libraries of nvidia-pytriton", exc_type=ImportError)
    script = EXAMPLES / "perf_analyzer.sh"
    python = {"PYTHON": sys.executable, "XDG_CACHE_HOME": str(tmp_path)}
    fetched = _run("bash", script, "--get", folder=tmp_path, **python)
    if fetched.returncode:
        pytest.skip(f"perf_analyzer cannot be fetched here: {fetched.stderr.strip().splitlines()[-1]}")
    images = ROOT / "demo" / "photos"
    assert main(["perf-data", str(images), "--threshold", "0.5", "--output", str(tmp_path / "perf.json")]) == 0

    options = ["-i", "grpc", "-u", server.grpc_url.partition("://")[2], "--input-data", "perf.json"]
    done = _run("bash", script, "-m", DEMO, *options, "--request-count", "20", folder=tmp_path, **python)

    assert done.returncode == 0, done.stdout + done.stderr
    assert re.search(r"Throughput: [1-9]", done.stdout), done.stdout
