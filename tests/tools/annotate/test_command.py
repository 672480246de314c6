"""`maskserve annotate`: options, what is missing, and the service on a port."""

from __future__ import annotations

import importlib.util
import signal
import socket
import subprocess
import sys
from urllib.request import urlopen

import pytest
from fastapi import FastAPI

from maskserve.errors import ToolError
from maskserve.exports import fiftyone_model, to_fiftyone
from maskserve_tools.annotate.serving import serve
from maskserve_tools.cli import main
from tests.tools.annotate.conftest import KnownPipeline, known_result

_SERVE = """
from fastapi import FastAPI
from maskserve_tools.annotate.serving import serve
serve(FastAPI(), "127.0.0.1", 0, lambda url: print(url, flush=True))
"""


def test_it_listens_until_it_is_asked_to_stop() -> None:
    with subprocess.Popen([sys.executable, "-c", _SERVE], stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout
            url = process.stdout.readline().strip()
            with urlopen(f"{url}/openapi.json", timeout=30) as answer:
                assert answer.status == 200
            process.send_signal(signal.SIGINT)
            assert process.wait(timeout=30) in (0, 130, -signal.SIGINT)
        finally:
            process.kill()


def test_a_port_that_is_taken() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(ToolError, match=r"cannot listen on 127\.0\.0\.1, port"):
            serve(FastAPI(), "127.0.0.1", taken.getsockname()[1], print)


@pytest.mark.skipif(
    importlib.util.find_spec("label_studio_sdk") is not None, reason="label-studio-sdk is installed here"
)
def test_a_missing_sdk_is_one_sentence(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["annotate", "label-studio", "--pipeline", "people"]) == 1
    assert capsys.readouterr().err == (
        'maskserve: maskserve annotate label-studio needs label_studio_sdk: pip install "maskserve[label-studio]"\n'
    )


@pytest.mark.parametrize("package", ["fastapi", "uvicorn"])
def test_a_missing_package_is_one_sentence(
    package: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    assert main(["annotate", "label-studio", "--pipeline", "people"]) == 1
    said = capsys.readouterr().err
    assert said.startswith("maskserve: maskserve annotate label-studio needs ")
    assert package in said.partition(":")[2].partition(" needs ")[2]
    assert said.endswith('pip install "maskserve[label-studio]"\n')


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["label-studio", "--pipeline", "people", "--tolerance", "1"], "--tolerance needs polygons of single parts"),
        (["cvat", "7", "--pipeline", "people", "--tolerance", "1"], "--tolerance needs polygons of single parts"),
    ],
)
def test_options_that_do_not_fit(words: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["annotate", *words]) == 1
    assert said in capsys.readouterr().err


@pytest.mark.parametrize(
    "words",
    [
        [],
        ["label-studio"],
        ["cvat", "--pipeline", "people"],
        ["cvat", "x", "--pipeline", "people"],
        ["cvat", "7", "--pipeline", "people", "--tolerance", "nan"],
        ["label-studio", "--pipeline", "people", "--threshold", "2"],
    ],
)
def test_a_command_line_that_makes_no_sense(words: list[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["annotate", *words])
    assert ended.value.code == 2


@pytest.mark.skipif(importlib.util.find_spec("fiftyone") is not None, reason="FiftyOne is installed here")
def test_missing_fiftyone_is_one_sentence(pipeline: KnownPipeline) -> None:
    for call in (lambda: to_fiftyone(known_result()), lambda: fiftyone_model(pipeline)):  # type: ignore[arg-type]
        with pytest.raises(ToolError, match=r'FiftyOne is not there .* pip install "maskserve\[fiftyone\]"'):
            call()
