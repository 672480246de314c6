"""`maskserve up`: a model, its server, the REST service and the page with one command, on a real tritonserver."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from maskserve.errors import ToolError
from maskserve_tools.model_source import Kind, ModelSource, find_source
from maskserve_tools.up.repository import prepare
from maskserve_tools.up.snippets import Addresses, address_lines, snippet_lines
from tests.tools.embedded.conftest import needs_triton

pytestmark = needs_triton
COMMAND = [sys.executable, "-m", "maskserve", "up"]
NAME = "maskserve-people"


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache for the module, so that the demo model is converted once."""
    pytest.importorskip("paddle2onnx", reason="converting needs paddle2onnx", exc_type=ImportError)
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module")
def bundle(demo_model: Path, cache: Path) -> Path:
    """The demo model as a bundle, by another name."""
    from maskserve_tools import convert

    path = cache / "crowd.maskserve"
    convert(demo_model, bundle=path, name="crowd")
    return path


@contextmanager
def up(cache: Path, *arguments: str, **environment: str) -> Iterator[tuple[subprocess.Popen[str], list[str]]]:
    """The command, and what it says until it is ready."""
    values = {**os.environ, "MASKSERVE_CACHE": str(cache), **environment}
    with subprocess.Popen(
        [*COMMAND, *arguments], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=values, cwd=cache
    ) as process:
        assert process.stdout is not None
        try:
            lines = list[str]()
            for line in process.stdout:  # the test's limit of time ends it
                lines.append(line.rstrip("\n"))
                if "Ctrl-C stops all of it" in line:
                    break
            yield process, lines
        finally:
            process.terminate()
            process.wait(60)


def addresses(lines: list[str]) -> dict[str, str]:
    return dict(line.split() for line in lines if re.fullmatch(r"  (gRPC|HTTP|REST|page) +\S+", line))


def wait_until(holds: Callable[[], bool], seconds: float = 60) -> bool:
    deadline = time.monotonic() + seconds
    while not holds() and time.monotonic() < deadline:
        time.sleep(0.05)
    return holds()


def below(cache: Path) -> list[int]:
    """Every process of a command with this cache."""
    marker, found = f"MASKSERVE_CACHE={cache}".encode(), []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if marker in (folder / "environ").read_bytes().split(b"\0"):
                found.append(int(folder.name))
        except OSError:
            continue
    return found


def snippet(lines: list[str], title: str) -> str:
    begin = lines.index(f"# {title}") + 1
    return "\n".join(lines[begin : lines.index("", begin)])


def test_the_addresses_and_the_snippets_work_and_ctrl_c_ends_all(demo_model: Path, cache: Path, tmp_path: Path) -> None:
    seen = tmp_path / "seen"
    browser = tmp_path / "browser"
    browser.write_text(f'#!/bin/sh\necho "$1" > {seen}\n')
    browser.chmod(0o755)
    free = ["--port", "auto", "--http-port", "auto", "--grpc-port", "auto", "--metrics-port", "auto"]
    with up(cache, str(demo_model), *free, BROWSER=f"{browser} %s") as (process, lines):
        found = addresses(lines)
        assert list(found) == ["gRPC", "HTTP", "REST", "page"]
        with urllib.request.urlopen(found["page"]) as page:
            assert b"<html" in page.read()
        with urllib.request.urlopen(f"{found['HTTP']}/v2/health/ready") as ready:
            assert ready.status == 200
        assert wait_until(seen.is_file)
        assert wait_until(lambda: seen.read_text().strip() == found["page"])
        printed = subprocess.run(
            [sys.executable, "-c", snippet(lines, "Python")], check=True, capture_output=True, text=True
        )
        assert "person" in printed.stdout, printed.stderr
        line = snippet(lines, "command line").replace("maskserve ", f"{sys.executable} -m maskserve ", 1)
        subprocess.run(["bash", "-c", line], check=True, cwd=tmp_path, capture_output=True)
        assert {path.suffix for path in (tmp_path / "output").iterdir()} == {".jpg", ".json"}
        if shutil.which("curl") is not None:
            answer = subprocess.run(["bash", "-c", snippet(lines, "curl")], capture_output=True, check=True).stdout
            names = {instance["categoryName"] for instance in json.loads(answer)["result"]["instances"]}
            assert names == {"person"}
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 0
        assert wait_until(lambda: below(cache) == [])


def test_two_at_once_with_two_models_and_nothing_is_left_of_one_that_was_killed(
    demo_model: Path, cache: Path, bundle: Path
) -> None:
    with (
        up(cache, str(demo_model), str(bundle), "--no-browser") as (process, first),
        up(cache, str(bundle), "--no-browser") as (other, second),
    ):
        one, two = addresses(first), addresses(second)
        assert len({*one.values(), *two.values()}) == 8
        with urllib.request.urlopen(one["page"] + "models") as models:
            served = [model["name"] for model in json.load(models)["models"]]
        assert served == ["crowd", NAME]
        other.kill()
        process.kill()
        assert wait_until(lambda: below(cache) == [])


def test_a_port_that_is_taken_and_a_broken_model(demo_model: Path, cache: Path, tmp_path: Path) -> None:
    broken = tmp_path / "broken"
    shutil.copytree(demo_model, broken)
    (broken / "inference.pdiparams").write_bytes(b"x" * 100)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        number = str(taken.getsockname()[1])
        for arguments, words in (
            ((str(demo_model), "--port", number), f"port {number} is in use on 127.0.0.1: give another with --port"),
            ((str(demo_model), "--grpc-port", number), f"port {number} is in use on 127.0.0.1: give another with --g"),
            ((str(broken),), "inference.pdiparams"),
        ):
            with up(cache, *arguments, "--no-browser") as (process, lines):
                assert process.wait(60) == 1
                assert words in lines[-1]
                assert "Traceback" not in "".join(lines)
                assert not any("starting" in line for line in lines)
    assert below(cache) == []


def test_what_a_source_is(demo_model: Path, bundle: Path, demo_repository: Path) -> None:
    for text, kind in (
        (str(demo_model), Kind.PADDLE),
        (str(bundle), Kind.BUNDLE),
        (str(demo_repository), Kind.REPOSITORY),
        (str(demo_repository / "people"), Kind.ENTRY),
        ("SOLOv2", Kind.PADDLE),
    ):
        assert find_source(text) == ModelSource(text, kind)
    assert find_source("instance_segmentation").text == "Mask-RT-DETR-S"


def test_repositories(demo_repository: Path, bundle: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MASKSERVE_CACHE", str(cache))
    said = list[str]()
    single = prepare([find_source(str(demo_repository / "people"))], said.append)
    assert (single.repository, single.models) == (demo_repository.resolve(), ("people",))
    together = prepare([find_source(str(demo_repository / "people")), find_source(str(bundle))], said.append)
    names = sorted(path.name for path in together.repository.iterdir())
    turned = prepare([find_source(str(bundle)), find_source(str(demo_repository / "people"))], said.append)
    assert (together.default, turned.default) == ("people", "crowd")  # the first that was named
    assert names == ["crowd", "people", "people.core", "people.postprocess", "people.preprocess"]
    shutil.copytree(together.repository / "crowd", cache / "other" / "crowd")
    with pytest.raises(ToolError, match="two models are called crowd"):
        prepare([find_source(str(cache / "other")), find_source(str(bundle))], said.append)


def test_a_path_with_spaces_and_quotes_is_quoted() -> None:
    where = Addresses("grpc://127.0.0.1:1", "http://127.0.0.1:2", "http://127.0.0.1:3")
    lines = snippet_lines(where, ["a", "b"], "a", "my 'best' photo.jpg")
    compile(snippet([*lines, ""], "Python"), "snippet", "exec")
    for title in ("curl", "command line"):
        subprocess.run(["bash", "-n", "-c", snippet([*lines, ""], title)], check=True)
    assert "# the others: http://127.0.0.1:3/models/NAME/instance-segmentation" in lines
    assert len(address_lines(where)) == 4
