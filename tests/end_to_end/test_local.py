"""The program of PaddleX's tutorial, in a process of its own, with a model's folder and no server anywhere."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from maskserve.transport.local import ENTRY_POINTS
from maskserve_tools.local import open_here, start

TUTORIAL = """
import sys
from maskserve import create_pipeline

pipeline = create_pipeline(pipeline=sys.argv[1], server=True)
print(pipeline.url, flush=True)

output = pipeline.predict(sys.argv[2])
for res in output:
    res.print()
    res.save_to_img("./output/")
    res.save_to_json("./output/")
"""
ENDLESS = TUTORIAL + "\nimport time\nprint('done', flush=True)\ntime.sleep(600)\n"
FORKING = (
    TUTORIAL
    + """
import os
child = os.fork()
if child == 0:
    pipeline.close()
    sys.exit(0)
os.waitpid(child, 0)
print(len(list(pipeline.predict(sys.argv[2]))))
"""
)


class Desk:
    """A folder to run programs in, with a cache of its own."""

    def __init__(self, path: Path, model: Path) -> None:
        self.path = path
        self._arguments = [str(model), str(model.parent / "photos" / "astronaut.jpg")]
        # the entry point as an installed package has it, for tests that run from a checkout
        information = path / "site" / "maskserve-0.dist-info"
        information.mkdir(parents=True)
        (information / "METADATA").write_text("Name: maskserve\nVersion: 0\n")
        starters = f"server = {start.__module__}:start\nprocess = {open_here.__module__}:open_here\n"
        (information / "entry_points.txt").write_text(f"[{ENTRY_POINTS}]\n{starters}")
        search = [str(path / "site"), *(entry for entry in sys.path if entry)]
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(search), "MASKSERVE_CACHE": str(path / "cache")}
        environment.pop("MASKSERVE_URL", None)
        self._environment = environment

    def start(self, program: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            self._command(program),
            cwd=self.path,
            env=self._environment,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )

    def run(self, program: str) -> tuple[list[str], str]:
        """What it wrote to standard output and to standard error."""
        with self.start(program) as process:
            out, err = process.communicate(timeout=300)
        assert process.returncode == 0, err
        return out.splitlines(), err

    def _command(self, program: str) -> Sequence[str]:
        return [sys.executable, "-W", "ignore", "-c", program, *self._arguments]


@pytest.fixture(scope="module")
def desk(demo_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Desk:
    for module in ("pytriton", "paddle2onnx", "openvino"):
        pytest.importorskip(module, reason=f"an embedded server needs {module}", exc_type=ImportError)
    return Desk(tmp_path_factory.mktemp("desk"), demo_model)


def answers(url: str) -> bool:
    host, _, port = url.removeprefix("grpc://").partition(":")
    with socket.socket() as probe:
        return probe.connect_ex((host, int(port))) == 0


def test_the_tutorial_works_alone_and_the_second_time_converts_nothing(desk: Desk) -> None:
    (url, first), told = desk.run(TUTORIAL)
    assert "converting" in told
    assert "'label': 'person'" in first
    document = json.loads((desk.path / "output" / "astronaut.json").read_text())
    assert document["boxes"][0]["label"] == "person"
    assert (desk.path / "output" / "astronaut.jpg").stat().st_size > 0
    assert not answers(url)

    (_, second), told = desk.run(TUTORIAL)
    assert "converting" not in told
    assert second == first


def test_ctrl_c_takes_the_server_along(desk: Desk) -> None:
    with desk.start(ENDLESS) as process:
        assert process.stdout is not None
        url, *_, done = (process.stdout.readline().strip() for _ in range(3))
        assert done == "done"
        assert answers(url)
        process.send_signal(signal.SIGINT)
        try:
            _, err = process.communicate(timeout=60)
        finally:
            process.kill()
    assert "KeyboardInterrupt" in err
    assert process.returncode == -signal.SIGINT
    assert not answers(url)


def test_a_forked_child_leaves_its_parent_the_server(desk: Desk) -> None:
    (url, *_, count), _ = desk.run(FORKING)
    assert count == "1"
    assert not answers(url)
