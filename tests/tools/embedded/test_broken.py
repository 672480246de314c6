"""What cannot be served is refused with its reason, and nothing stays running."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from maskserve.errors import ToolError
from maskserve_tools.embedded import serve
from tests.tools.embedded.conftest import SEGMENTER, Repository, needs_triton

ANSWER = SEGMENTER.rpartition("[:16]\n        ")[2].rstrip()  # what follows the check of the image
ERROR = 'return pb_utils.InferenceResponse(error=pb_utils.TritonError("no weights", pb_utils.TritonError.INTERNAL))'
FAILING_INITIALIZE = "    def initialize(self, args):\n        raise RuntimeError('weights.bin is damaged')\n"


@needs_triton
@pytest.mark.parametrize(
    ("code", "reason"),
    [
        ("import no_such_module\n" + SEGMENTER, "failed to load 'bad'.*no_such_module"),
        (SEGMENTER + FAILING_INITIALIZE, "weights.bin is damaged"),
        (SEGMENTER.replace(ANSWER, ERROR), "bad is not served: it fails at a test image: no weights"),
        (
            SEGMENTER.replace(ANSWER, "raise KeyError('scale')"),
            "it fails at a test image: .*scale",
        ),
        (SEGMENTER.replace(ANSWER, "import os; os._exit(3)"), "bad is not served: it fails at a test image: "),
        (SEGMENTER.replace('"BOXES"', '"OTHER"'), "bad is not served: it answers a test image without BOXES"),
    ],
    ids=["import", "initialize", "error", "exception", "stub dies", "no boxes"],
)
def test_a_broken_model_is_named(repository: Repository, code: str, reason: str) -> None:
    repository.segmenter("bad", code)
    with pytest.raises(ToolError, match=f"(?s){reason}"):
        serve(repository.path)
    assert processes_that_mention(repository.path) == []


@needs_triton
@pytest.mark.parametrize("place", ["answer", "initialize"])
def test_a_model_that_hangs_does_not_hang_us(repository: Repository, place: str) -> None:
    sleep = "import time; time.sleep(1000)"
    slow_start = SEGMENTER + f"    def initialize(self, args):\n        {sleep}\n"
    repository.segmenter("slow", SEGMENTER.replace(ANSWER, sleep) if place == "answer" else slow_start)
    late = r"slow is not served: it (did not answer a test image|was not ready) within \d+ s"
    with pytest.raises(ToolError, match=late):
        serve(repository.path, ready_timeout=3)
    assert processes_that_mention(repository.path) == []


@pytest.fixture(autouse=True)
def working_files_beside(repository: Repository, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let servers keep their working files beside the repository, where its stubs are told from others'."""
    monkeypatch.setattr(tempfile, "tempdir", str(repository.path.parent))


def processes_that_mention(path: Path) -> list[str]:
    """Stubs whose models lie beside the repository at `path`: a stub is started with the path of its model."""
    found = []
    for process in Path("/proc").iterdir():
        try:
            words = (process / "cmdline").read_text().split("\0") if process.name.isdigit() else []
        except OSError:
            continue
        models = [Path(os.path.realpath(word)) for word in words if word.endswith("model.py")]
        found += [str(model) for model in models if path.parent in model.parents]
    return found


@needs_triton
def test_the_command_exits_with_the_reason(repository: Repository) -> None:
    repository.segmenter("bad", "raise ImportError('gone')")
    command = [sys.executable, "-m", "maskserve_tools.cli", "serve", str(repository.path), "--http-port=auto"]
    command += ["--grpc-port=auto", "--metrics-port=auto"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1
    assert "maskserve: bad is not served: " in done.stderr
    assert "gone" in done.stderr.partition("maskserve: bad is not served: ")[2]


@needs_triton
def test_too_little_shared_memory_is_refused(repository: Repository) -> None:
    repository.segmenter("a", instances=3)
    mount = "mount -t tmpfs -o size=2m tmpfs /dev/shm && "
    if subprocess.run(["unshare", "-m", "sh", "-c", mount + "true"], capture_output=True, check=False).returncode:
        pytest.skip("mounting a small /dev/shm is not permitted here")
    serve_it = f"{sys.executable} -m maskserve_tools.cli serve {repository.path}"
    command = ["unshare", "-m", "sh", "-c", mount + serve_it]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 1
    assert "2 MiB free" in done.stderr
    assert "--shm-size=" in done.stderr
