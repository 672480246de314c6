"""A running server loads what is new, and keeps what it has where the new does not work."""

from __future__ import annotations

import json
import shlex
import shutil
import stat
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from maskserve.errors import ToolError
from maskserve_tools import cli
from maskserve_tools.embedded import Server, serve
from maskserve_tools.embedded.canary import canary_image
from maskserve_tools.embedded.control import servers_of, socket_of
from maskserve_tools.embedded.reload_request import find_server, let_load
from maskserve_tools.embedded.shared_memory import DIRECTORY
from tests.tools.embedded.conftest import SEGMENTER, Repository, needs_triton, region_prefix

pytestmark = needs_triton

OLD, NEW = [[1, 2, 3, 4]], [[5, 6, 7, 8]]
OTHER = SEGMENTER.replace("[[1, 2, 3, 4]]", "[[5, 6, 7, 8]]")
Infer = Callable[[str, str, bytes], Any]


@pytest.fixture
def server(repository: Repository) -> Iterator[Server]:
    repository.segmenter("whole.core")
    repository.ensemble("whole", step="whole.core")
    repository.segmenter("still")
    with serve(repository.path) as running:
        yield running


@pytest.fixture
def answer(server: Server, grpc_infer: Infer) -> Callable[[str], list[list[float]]]:
    return lambda name: grpc_infer(server.grpc_url, name, canary_image()).tolist()


def write_anew(repository: Repository, name: str, code: str) -> None:
    """As `convert` does: another folder in the place of the one that was there."""
    (repository.path / name).rename(repository.path.parent / "attic")
    repository.segmenter(name, code)
    shutil.rmtree(repository.path.parent / "attic")


def is_ready(server: Server) -> bool:
    with urllib.request.urlopen(f"{server.http_url}/v2/health/ready", timeout=10) as answered:
        return bool(answered.status == 200)


def test_a_new_entry_appears(server: Server, repository: Repository, answer: Any) -> None:
    before = server.pid
    repository.segmenter("fresh", OTHER)
    told = server.reload()
    assert (told.loaded, told.removed, told.broken) == (("fresh",), (), ())
    assert answer("fresh") == NEW
    assert answer("whole") == OLD
    assert server.models == ("fresh", "still", "whole")
    assert server.pid == before
    assert is_ready(server)


def test_a_changed_entry_answers_otherwise_when_asked_to(server: Server, repository: Repository, answer: Any) -> None:
    write_anew(repository, "whole.core", OTHER)
    time.sleep(3)  # Triton has looked into its folder more than once
    assert answer("whole") == OLD, "nobody has asked for the new one yet"
    assert server.reload().loaded == ("whole",)
    assert answer("whole") == NEW
    assert is_ready(server)


def test_nothing_new_does_nothing(server: Server, answer: Any) -> None:
    told = server.reload()
    assert (told.loaded, told.removed, told.broken, told.kept) == ((), (), (), ())
    assert answer("whole") == OLD


@pytest.mark.parametrize("breaks", ["import", "image", "config"])
def test_what_fails_is_named_and_the_old_one_goes_on(
    server: Server, repository: Repository, answer: Any, breaks: str
) -> None:
    code = "import no_such_module\n" if breaks == "import" else OTHER.replace("assert image", "assert not image")
    write_anew(repository, "whole.core", code)
    if breaks == "config":
        (repository.path / "whole" / "config.pbtxt").write_text("{", encoding="utf-8")
    repository.segmenter("fresh", OTHER)
    told = server.reload()
    assert told.loaded == ("fresh",)
    assert told.kept == ("whole",)
    assert "whole" in {broken.name for broken in told.broken}
    assert answer("whole") == OLD
    assert answer("fresh") == NEW
    assert set(server.models) == {"fresh", "still", "whole"}
    assert is_ready(server)
    shutil.rmtree(repository.path / "whole")
    shutil.rmtree(repository.path / "whole.core")
    repository.segmenter("whole.core", OTHER)
    repository.ensemble("whole", step="whole.core")
    assert server.reload().loaded == ("whole",), "once it is right it is loaded"
    assert answer("whole") == NEW


def test_what_is_gone_goes(server: Server, repository: Repository, answer: Any) -> None:
    for name in ("whole", "whole.core"):
        shutil.rmtree(repository.path / name)
    assert answer("whole") == OLD
    told = server.reload()
    assert told.removed == ("whole",)
    assert server.models == ("still",)
    with pytest.raises(Exception, match=r"unknown model|not found|no available versions"):
        answer("whole")


def test_the_control_socket_is_its_users_alone(server: Server, repository: Repository) -> None:
    path = socket_of(region_prefix(server))
    assert path is not None
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert servers_of(repository.path) == [server.http_url]
    assert servers_of(repository.path.parent) == []
    server.stop()
    assert not path.exists()
    assert not list(DIRECTORY.glob(f"{region_prefix_of(path)}*"))


def region_prefix_of(path: Path) -> str:
    return path.name.removesuffix("control")


def test_nobody_can_load_models_through_triton(server: Server) -> None:
    url = f"{server.http_url}/v2/repository/models/still/load"
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(urllib.request.Request(url, b"{}", method="POST"), timeout=10)
    assert "polling is enabled" in json.loads(refused.value.read())["error"]


@pytest.mark.parametrize("scheme", ["grpc", "http"])
def test_another_program_asks(server: Server, repository: Repository, answer: Any, scheme: str) -> None:
    write_anew(repository, "still", OTHER)
    url = server.grpc_url if scheme == "grpc" else server.http_url
    let_load(url, repository.path, "still", ["still"], timeout=60)
    assert answer("still") == NEW
    with pytest.raises(ToolError, match="has found nothing new: does it serve"):
        let_load(url, repository.path, "still", ["still"], timeout=60)


def test_another_program_is_told_why_not(server: Server, repository: Repository) -> None:
    write_anew(repository, "still", "import no_such_module\n")
    with pytest.raises(ToolError, match=r"(?s)no_such_module.*goes on with still as it was before"):
        let_load(server.http_url, repository.path, "still", ["still"], timeout=60)


def test_where_nobody_answers() -> None:
    with pytest.raises(ToolError, match=r"no server answers at http://127\.0\.0\.1:9"):
        find_server("http://127.0.0.1:9")


@pytest.mark.parametrize("scheme", ["grpc", "http"])
def test_converting_reloads(
    demo_repository: Path, demo_model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], scheme: str
) -> None:
    repository, folder = tmp_path / "my models", tmp_path / "a folder"
    repository.mkdir()
    for entry in demo_repository.glob("people-single*"):
        shutil.copytree(entry, repository / entry.name)
    shutil.copytree(demo_model, folder)
    settings = (folder / "inference.yml").read_text(encoding="utf-8").replace("- person", "- 行人")
    (folder / "inference.yml").write_text(settings, encoding="utf-8")
    line = ["convert", str(folder), "--repository", str(repository), "--name", "people-single", "--layout", "single"]
    with serve(repository) as running:
        assert labels(running) == ["person"]
        assert cli.main(line) == 0
        assert labels(running) == ["person"]
        said = capsys.readouterr().out.splitlines()
        assert f"serve it with: maskserve serve {shlex.quote(str(repository))}" in said
        offered = next(text for text in said if text.startswith(f"the server at {running.http_url} goes on without it"))
        words = shlex.split(offered.partition("reloads: ")[2])
        assert words == ["maskserve", *line[:2], *line[2:], "--reload", running.http_url]
        url = running.http_url if scheme == "http" else running.grpc_url
        assert cli.main([*words[1:-1], url]) == 0
        assert f"the server at {url} has loaded it: people-single answers" in capsys.readouterr().out
        assert labels(running) == ["行人"]


def labels(server: Server) -> list[str]:
    with urllib.request.urlopen(f"{server.http_url}/v2/models/people-single/config", timeout=10) as answered:
        found: list[str] = json.loads(json.load(answered)["parameters"]["labels"]["string_value"])
    return found


@pytest.fixture
def explicit(repository: Repository, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Any]:
    """A tritonserver that somebody else has started, whose models are loaded by Triton's own API."""
    from maskserve_tools.embedded import ports
    from maskserve_tools.embedded.canary import HttpEndpoint
    from maskserve_tools.embedded.log import TritonLog
    from maskserve_tools.embedded.process import TritonProcess
    from maskserve_tools.embedded.process_environment import server_environment
    from maskserve_tools.embedded.shared_memory import RegionNamespace
    from maskserve_tools.embedded.triton_wheel import find_triton_wheel, link_backend_directory

    repository.segmenter("whole.core")
    repository.ensemble("whole", step="whole.core")
    wheel, regions = find_triton_wheel(), RegionNamespace.claim()
    chosen = ports.choose_ports("127.0.0.1", http=0, grpc=0, metrics=0)
    process = TritonProcess(
        [
            str(wheel.binary),
            f"--backend-directory={link_backend_directory(wheel, tmp_path / 'backends')}",
            f"--model-repository={repository.path}",
            f"--model-control-mode={request.param}",
            *(["--load-model=*"] if request.param == "explicit" else []),
            f"--backend-config=python,shm-region-prefix-name={regions.prefix}",
            *(f"--{name}-address=127.0.0.1" for name in ("http", "grpc", "metrics")),
            *(f"--{name}-port={getattr(chosen, name)}" for name in ("http", "grpc", "metrics")),
            "--disable-auto-complete-config",
            "--http-restricted-api=model-repository:maskserve-admin-key=secret",
            "--grpc-restricted-protocol=model-repository:maskserve-admin-key=secret",
        ],
        server_environment(wheel),
        TritonLog(None, verbose=False),
        inherited=[regions.descriptor],
    )
    try:
        endpoint, deadline = HttpEndpoint("127.0.0.1", chosen.http), time.monotonic() + 60
        while not _answers(endpoint):
            assert process.exit_code is None
            assert time.monotonic() < deadline
            time.sleep(0.05)
        yield chosen
    finally:
        process.stop(grace=0)
        regions.release()


def _answers(endpoint: Any) -> bool:
    try:
        return bool(endpoint.request("GET", "/v2/models/whole/ready", timeout=2)[0] == 200)
    except OSError:
        return False


@pytest.mark.parametrize("explicit", ["explicit"], indirect=True)
@pytest.mark.parametrize("scheme", ["grpc", "http"])
def test_a_server_with_model_control(
    explicit: Any, repository: Repository, grpc_infer: Infer, scheme: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    url, entries = f"{scheme}://127.0.0.1:{getattr(explicit, scheme)}", ["whole.core", "whole"]
    write_anew(repository, "whole.core", OTHER)
    monkeypatch.delenv("MASKSERVE_ADMIN_KEY", raising=False)
    with pytest.raises(ToolError, match="MASKSERVE_ADMIN_KEY holds the key"):
        let_load(url, repository.path, "whole", entries, timeout=60)
    monkeypatch.setenv("MASKSERVE_ADMIN_KEY", "secret")
    let_load(url, repository.path, "whole", entries, timeout=60)
    assert grpc_infer(f"grpc://127.0.0.1:{explicit.grpc}", "whole", canary_image()).tolist() == NEW
    write_anew(repository, "whole.core", "import no_such_module\n")
    with pytest.raises(ToolError, match=r"(?s)did not load whole.core: .*no_such_module"):
        let_load(url, repository.path, "whole", entries, timeout=60)


@pytest.mark.parametrize("explicit", ["none"], indirect=True)
@pytest.mark.parametrize("scheme", ["grpc", "http"])
def test_a_server_without_it(
    explicit: Any, repository: Repository, scheme: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MASKSERVE_ADMIN_KEY", "secret")
    url = f"{scheme}://127.0.0.1:{getattr(explicit, scheme)}"
    with pytest.raises(ToolError, match=r"loads no models while it runs.*restart it"):
        let_load(url, repository.path, "whole", ["whole.core", "whole"], timeout=60)
