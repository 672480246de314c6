"""Further flags for tritonserver, and addresses of both kinds."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from maskserve.errors import ToolError
from maskserve_tools.embedded import serve
from maskserve_tools.embedded.canary import canary_image
from maskserve_tools.embedded.triton_flags import check_options
from tests.tools.embedded.conftest import Repository, needs_triton


@pytest.mark.parametrize(
    "options",
    [
        [],
        ["--log-verbose=1"],
        ["--log-verbose", "1"],
        ["--backend-config=python,shm-default-byte-size=1048576"],
        ["--metrics-config", "summary_latencies=true", "--http-thread-count=4"],
        ["--rate-limit=execution_count", "--rate-limit-resource=cpu_threads:2"],
    ],
)
def test_flags_that_are_passed_on(options: list[str]) -> None:
    check_options(options)


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (["--http-port=9000"], r"--http-port cannot be passed on .*--http-port"),
        (["--model-repository", "/x"], "--model-repository cannot be passed on .*REPOSITORY"),
        (["--model-rep=/x"], "--model-repository cannot be passed on"),
        (["--log-verbose=1", "--exit-on-error=true"], "--exit-on-error cannot be passed on"),
        (["--model-control-mode=explicit"], "--model-control-mode cannot be passed on"),
        (["--log-file=x"], "--log-file cannot be passed on .*--verbose"),
        (["--backend-config=python,shm-region-prefix-name=x"], "shm-region-prefix-name cannot be passed on"),
        (["--backend-config", "python,stub-timeout-seconds=3"], "stub-timeout-seconds cannot be passed on"),
        (["log-verbose=1"], "is not a flag of tritonserver"),
        (["-v"], "is not a flag of tritonserver"),
    ],
)
def test_flags_that_are_refused(options: list[str], reason: str) -> None:
    with pytest.raises(ToolError, match=reason):
        check_options(options)


def command(path: Path, *words: str) -> list[str]:
    ports = [f"--{name}-port=auto" for name in ("http", "grpc", "metrics")]
    return [sys.executable, "-m", "maskserve_tools.cli", "serve", str(path), *ports, *words]


@needs_triton
def test_a_flag_arrives(repository: Repository) -> None:
    repository.segmenter("good")
    line = command(repository.path, "--verbose", "--", "--log-verbose=1")
    with subprocess.Popen(line, stdout=subprocess.PIPE, stderr=subprocess.PIPE, encoding="utf-8") as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert next(text for text in process.stdout if "ready" in text)
        process.send_signal(signal.SIGINT)
        log = process.stderr.read()
    assert process.returncode == 0
    assert "| log_verbose " in log or "http_server.cc" in log


@needs_triton
@pytest.mark.parametrize("flag", ["--http-port=9000", "--no-such-flag=1"])
def test_a_flag_that_cannot_be_is_an_error(repository: Repository, flag: str) -> None:
    repository.segmenter("good")
    done = subprocess.run(command(repository.path, "--", flag), capture_output=True, encoding="utf-8", check=False)
    assert done.returncode == 1
    assert flag.partition("=")[0].strip("-") in done.stderr
    assert "Traceback" not in done.stderr


@needs_triton
@pytest.mark.parametrize("host", ["::1", "[::1]", "::"])
def test_a_server_on_ipv6(repository: Repository, grpc_infer: Any, host: str) -> None:
    import urllib.request

    repository.segmenter("good")
    with serve(repository.path, host=host) as server:
        for url in (server.http_url, server.grpc_url, server.metrics_url):
            assert url.partition("://")[2].startswith("[::1]:")
        assert grpc_infer(server.grpc_url, "good", canary_image()).tolist() == [[1, 2, 3, 4]]
        for url in (f"{server.http_url}/v2/health/ready", server.metrics_url):
            with urllib.request.urlopen(url, timeout=10) as answer:
                assert answer.status == 200


@needs_triton
def test_the_client_and_the_doctor_find_it_there(demo_repository: Path, two_people: Path) -> None:
    from maskserve import create_pipeline
    from maskserve_tools import cli

    with serve(demo_repository, host="::1", models=["people-single"]) as server:
        for url in (server.http_url, server.grpc_url):
            with create_pipeline("people-single", url=url) as pipeline:
                (result,) = pipeline.predict(two_people)
            assert len(result["boxes"]) >= 2
            line = ["doctor", "--url", url, "--model", "people-single", "--metrics-url", server.metrics_url]
            assert cli.main(line) == 0


def test_an_address_of_the_rest_service_can_be_read_in_one_way() -> None:
    import argparse

    from maskserve_tools.commands.serve import address

    assert address("[::1]:8080") == ("::1", 8080)
    assert address("8080") == ("127.0.0.1", 8080)
    with pytest.raises(argparse.ArgumentTypeError, match="two ways"):
        address("::1:8080")
