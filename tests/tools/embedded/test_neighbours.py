"""One broken entry never takes its neighbours down: they are served, and it is named."""

from __future__ import annotations

import re
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from maskserve.errors import ToolError
from maskserve_server.spec import FILE_NAME
from maskserve_tools.embedded import BrokenEntry, serve
from maskserve_tools.embedded.canary import canary_image
from maskserve_tools.embedded.survey import survey
from tests.server.test_stages import SPEC
from tests.tools.embedded.conftest import SEGMENTER, Repository, needs_triton

ANSWER = SEGMENTER.rpartition("[:16]\n        ")[2].rstrip()
DIES_AT_LOAD = SEGMENTER + "    def initialize(self, args):\n        import os; os._exit(3)\n"
HANGS_AT_LOAD = SEGMENTER + "    def initialize(self, args):\n        import time; time.sleep(1000)\n"


def no_config(repository: Repository) -> None:
    (repository.path / "bad" / "1").mkdir(parents=True)


def broken_config(repository: Repository) -> None:
    (repository.segmenter("bad") / "config.pbtxt").write_text('name: "bad" {{', encoding="utf-8")


def another_name(repository: Repository) -> None:
    repository.segmenter("other").rename(repository.path / "bad")


def corrupt_description(repository: Repository) -> None:
    (repository.segmenter("bad") / "1" / FILE_NAME).write_text('{"contract": 1, "core"', encoding="utf-8")


def odd_description(repository: Repository) -> None:
    (repository.segmenter("bad") / "1" / FILE_NAME).write_text("[1, 2]", encoding="utf-8")


def description_that_is_not_text(repository: Repository) -> None:
    (repository.segmenter("bad") / "1" / FILE_NAME).write_bytes(b"\xff\xfe\x00")


def no_core(repository: Repository) -> None:
    (repository.segmenter("bad") / "1" / FILE_NAME).write_text(SPEC.to_json(), encoding="utf-8")


def no_step(repository: Repository) -> None:
    repository.ensemble("bad", step="bad.core")


def other_backend(repository: Repository) -> None:
    config = repository.segmenter("bad") / "config.pbtxt"
    text = config.read_text(encoding="utf-8").replace('backend: "python"', 'backend: "openvino"')
    config.write_text(text, encoding="utf-8")


SEEN_IN_FILES: dict[Callable[[Repository], None], str] = {
    no_config: "it has no config.pbtxt",
    broken_config: "config.pbtxt is broken",
    another_name: "is of a model other",
    corrupt_description: "model.json is damaged",
    odd_description: "model.json is damaged",
    description_that_is_not_text: "model.json cannot be read",
    no_core: "core.onnx is missing or empty",
    no_step: r"it calls bad\.core, which is not in",
    other_backend: "needs Triton's openvino backend",
}


@pytest.mark.parametrize("breaks", SEEN_IN_FILES, ids=lambda breaks: breaks.__name__)
def test_what_files_tell(repository: Repository, breaks: Callable[[Repository], None]) -> None:
    repository.segmenter("good")
    breaks(repository)
    (repository.path / "notes.txt").write_text("not a model", encoding="utf-8")
    found = survey(repository.path)
    assert [entry.name for entry in found.entries] == ["good"]
    (broken,) = found.broken
    assert broken.name == "bad"
    assert re.search(SEEN_IN_FILES[breaks], broken.reason), broken.reason


def test_the_steps_of_a_broken_model_are_not_served_alone(repository: Repository) -> None:
    repository.segmenter("whole.core")
    repository.segmenter("whole.preprocess")
    (repository.ensemble("whole", step="whole.core") / "config.pbtxt").write_text("{", encoding="utf-8")
    repository.segmenter("good")
    assert [entry.name for entry in survey(repository.path).entries] == ["good"]


def test_a_step_that_another_model_calls_is_kept(repository: Repository) -> None:
    repository.segmenter("whole.core")
    (repository.ensemble("whole", step="whole.core") / "config.pbtxt").write_text("{", encoding="utf-8")
    repository.ensemble("other", step="whole.core")
    assert {entry.name for entry in survey(repository.path).entries} == {"other", "whole.core"}


def test_only_the_broken_ones_that_were_asked_for_are_named(repository: Repository) -> None:
    repository.segmenter("good")
    broken_config(repository)
    assert survey(repository.path, ["good"]).broken == []
    assert [broken.name for broken in survey(repository.path, ["good", "bad"]).broken] == ["bad"]


@needs_triton
@pytest.mark.parametrize(
    ("code", "reason"),
    [
        ("import no_such_module\n" + SEGMENTER, "no_such_module"),
        (DIES_AT_LOAD, ""),
        (HANGS_AT_LOAD, "was not ready within 6 s|is broken"),
        (SEGMENTER.replace(ANSWER, "raise KeyError('scale')"), "fails at a test image: .*scale"),
        (SEGMENTER.replace(ANSWER, "import os; os._exit(3)"), "fails at a test image"),
        (SEGMENTER.replace(ANSWER, "import time; time.sleep(1000)"), "did not answer a test image"),
    ],
    ids=["import", "dies at load", "hangs at load", "error", "dies at an image", "hangs at an image"],
)
def test_what_running_shows(repository: Repository, grpc_infer: Any, code: str, reason: str) -> None:
    repository.segmenter("bad.core", code)
    repository.ensemble("bad", step="bad.core")
    repository.segmenter("good")
    repository.segmenter("z-good")  # behind the broken one in every order
    with serve(repository.path, ready_timeout=6) as server:
        assert server.models == ("good", "z-good")
        assert {broken.name for broken in server.broken} <= {"bad", "bad.core"}
        assert all(re.search(reason, broken.reason) for broken in server.broken), server.broken
        assert grpc_infer(server.grpc_url, "z-good", canary_image()).tolist() == [[1, 2, 3, 4]]
        with urllib.request.urlopen(f"{server.http_url}/v2/health/ready", timeout=10) as answer:
            assert answer.status == 200, "what is broken does not make the server unready"
        with pytest.raises(urllib.error.HTTPError):
            urllib.request.urlopen(f"{server.http_url}/v2/models/bad/ready", timeout=10)


@needs_triton
def test_strict_refuses(repository: Repository) -> None:
    repository.segmenter("good")
    broken_config(repository)
    with pytest.raises(ToolError, match=r"bad is not served: .*config.pbtxt is broken"):
        serve(repository.path, strict=True)


@needs_triton
def test_strict_refuses_what_does_not_load(repository: Repository) -> None:
    repository.segmenter("good")
    repository.segmenter("bad", "import no_such_module\n")
    with pytest.raises(ToolError, match=r"(?s)bad is not served: .*no_such_module"):
        serve(repository.path, strict=True)


def test_nothing_left_is_an_error(repository: Repository) -> None:
    pytest.importorskip("pytriton", reason="the embedded server needs nvidia-pytriton", exc_type=ImportError)
    broken_config(repository)
    no_step_of = repository.ensemble("worse", step="worse.core")
    assert no_step_of.is_dir()
    with pytest.raises(ToolError, match=r"bad is not served: .*; worse is not served: "):
        serve(repository.path)


def command(path: Path, *words: str) -> list[str]:
    ports = [f"--{name}-port=auto" for name in ("http", "grpc", "metrics")]
    return [sys.executable, "-m", "maskserve_tools.cli", "serve", str(path), *ports, *words]


@needs_triton
def test_the_command_says_so_and_serves(repository: Repository) -> None:
    import signal

    repository.segmenter("good")
    broken_config(repository)
    line = command(repository.path)
    with subprocess.Popen(line, stdout=subprocess.PIPE, stderr=subprocess.PIPE, encoding="utf-8") as process:
        assert process.stdout is not None
        assert process.stderr is not None
        said = next(text for text in process.stdout if "ready" in text)
        process.send_signal(signal.SIGINT)
        errors = process.stderr.read()
    assert process.returncode == 0
    assert "Models: good" in said
    assert "maskserve: bad is not served: " in errors


@needs_triton
def test_the_command_with_strict_exits(repository: Repository) -> None:
    repository.segmenter("good")
    broken_config(repository)
    done = subprocess.run(command(repository.path, "--strict"), capture_output=True, encoding="utf-8", check=False)
    assert done.returncode == 1
    assert "maskserve: bad is not served: " in done.stderr


def test_a_broken_entry_is_a_value() -> None:
    assert str(BrokenEntry("bad", "it is empty")) == "bad is not served: it is empty"
