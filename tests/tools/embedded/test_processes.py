"""What the embedded server's processes get and are: environment, session, launcher."""

from __future__ import annotations

import importlib.metadata
import os
import signal
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from maskserve.errors import ToolError
from maskserve_tools.embedded import process_environment as environment
from maskserve_tools.embedded import session, triton_wheel
from maskserve_tools.embedded.reviving import Reviving
from maskserve_tools.embedded.stubs import Stub
from tests.waiting import wait_until


class TestEnvironment:
    def test_numpy_2_is_refused(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(importlib.metadata, "version", lambda name: "2.1.3")
        with pytest.raises(ToolError, match=r"numpy 2.1.3 .*pip install \"numpy<2\""):
            environment.check_numpy()

    def test_the_missing_extra_is_named(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
        with pytest.raises(ToolError, match=r'pip install "maskserve\[embedded\]"'):
            triton_wheel.find_triton_wheel()

    @pytest.mark.parametrize(
        ("system", "machine", "python"),
        [("linux", "x86_64", (3, 13)), ("darwin", "x86_64", (3, 12)), ("linux", "aarch64", (3, 11))],
    )
    def test_a_system_without_the_wheel_is_told_what_else_there_is(
        self, system: str, machine: str, python: tuple[int, int], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
        monkeypatch.setattr(sys, "platform", system)
        monkeypatch.setattr("platform.machine", lambda: machine)
        monkeypatch.setattr(sys, "version_info", (*python, 0))
        with pytest.raises(
            ToolError, match=rf"Linux x86-64 with Python 3.10 to 3.12.*{system} {machine}.*server=False"
        ):
            triton_wheel.find_triton_wheel()

    def test_another_layout_of_the_wheel_is_refused(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        (tmp_path / "pytriton").mkdir()
        (tmp_path / "pytriton" / "__init__.py").touch()
        monkeypatch.setattr(sys, "path", [str(tmp_path)])
        monkeypatch.delitem(sys.modules, "pytriton", raising=False)
        with pytest.raises(ToolError, match=r"not laid out as expected, .*bin/tritonserver is missing"):
            triton_wheel.find_triton_wheel()

    def test_a_python_without_a_stub_is_refused(self, tmp_path: Path) -> None:
        wheel = triton_wheel.TritonWheel(tmp_path, tmp_path)
        with pytest.raises(ToolError, match=r"no python backend for Python 3\.99"):
            wheel.python_backend_files((3, 99))

    def test_the_running_python_comes_first(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        monkeypatch.setenv("PYTHONPATH", "/nowhere")
        monkeypatch.setenv("LD_LIBRARY_PATH", "/mine")
        monkeypatch.setattr(environment, "libpython_directory", lambda: tmp_path / "lib")
        variables = environment.server_environment(triton_wheel.TritonWheel(tmp_path, tmp_path / "libs"))
        assert variables["PATH"].split(":")[0] == str(Path(sys.executable).parent)
        assert variables["LD_LIBRARY_PATH"] == f"{tmp_path}/libs:{tmp_path}/lib:/mine"
        assert "PYTHONPATH" not in variables

    @pytest.mark.parametrize(("given", "used"), [(None, "2"), ("8", "8")])
    def test_memory_does_not_stay_with_every_thread(
        self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, given: str | None, used: str
    ) -> None:
        monkeypatch.delenv("MALLOC_ARENA_MAX", raising=False)
        if given is not None:
            monkeypatch.setenv("MALLOC_ARENA_MAX", given)
        monkeypatch.setattr(environment, "libpython_directory", lambda: tmp_path)
        variables = environment.server_environment(triton_wheel.TritonWheel(tmp_path, tmp_path))
        assert variables["MALLOC_ARENA_MAX"] == used

    def test_a_missing_libpython_is_explained(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        monkeypatch.setattr(environment, "_library_folders", lambda: [tmp_path])
        with pytest.raises(ToolError, match=r"needs libpython3\.\d+\.so\.1\.0.*apt-get install libpython3"):
            environment.libpython_directory()

    def test_a_missing_python3_is_explained(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
        monkeypatch.setattr(environment, "libpython_directory", lambda: tmp_path)
        with pytest.raises(ToolError, match="no python3 in"):
            environment.server_environment(triton_wheel.TritonWheel(tmp_path, tmp_path))


class TestSession:
    def test_members_and_kill(self) -> None:
        with subprocess.Popen(["sh", "-c", "sleep 60 & sleep 60"], start_new_session=True) as shell:
            wait_until(lambda: len(session.members(shell.pid)) == 3, "all three have started")
            session.kill(shell.pid)
            assert session.members(shell.pid) == []
            assert shell.wait() == -signal.SIGKILL

    def test_only_a_session_that_computes_nothing_is_quiet(self) -> None:
        with subprocess.Popen([sys.executable, "-c", "while True: pass"], start_new_session=True) as busy:
            watch = session.QuietWatch(busy.pid, window=0.01, load=0.0)
            before = processor_time(busy.pid)
            assert not watch.is_quiet()  # not watched for long enough
            wait_until(lambda: processor_time(busy.pid) >= before + 5, "it has computed")
            assert not watch.is_quiet()
            busy.send_signal(signal.SIGSTOP)
            calm = session.QuietWatch(busy.pid, window=0.01)
            wait_until(calm.is_quiet, "it is quiet")
            busy.kill()


def processor_time(pid: int) -> int:
    return sum(process.ticks for process in session.members(pid))


class TestLauncher:
    def test_nothing_is_started_for_a_parent_that_is_gone(self, tmp_path: Path) -> None:
        from maskserve_tools.embedded import launcher

        mark = tmp_path / "started"
        command = [sys.executable, "-I", "-S", launcher.__file__, "1", "/usr/bin/touch", str(mark)]
        subprocess.run(command, check=True)
        assert not mark.exists()
        command[4] = str(os.getpid())
        subprocess.run(command, check=True)
        assert mark.exists()


def test_the_time_in_which_all_threads_waited_for_a_processor(tmp_path: Path) -> None:
    for thread, text in (("7", "1000000000 2000000000 5\n"), ("8", "0 500000000 1\n"), ("9", "?")):
        folder = tmp_path / "7" / "task" / thread
        folder.mkdir(parents=True)
        (folder / "schedstat").write_text(text)
    assert session.seconds_waited(7, tmp_path) == 2.5
    assert session.seconds_waited(8, tmp_path) == 0


def test_a_model_whose_decoder_gets_no_processor_does_not_hang(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a machine with too much to do, models that were well were started again, and got no more then."""
    config = SimpleNamespace(backend="python")
    model = SimpleNamespace(name="model", steps=("model.preprocess",), config=SimpleNamespace(backend=""))
    step = SimpleNamespace(name="model.preprocess", steps=(), config=config)
    reviving = Reviving.__new__(Reviving)
    reviving._serving = SimpleNamespace(  # type: ignore[assignment]
        survey=SimpleNamespace(entries=[model, step]), launch=SimpleNamespace(process=SimpleNamespace(pid=1))
    )
    reviving._unknown = set()
    reviving.stubs = [Stub(10, "model.preprocess", ""), Stub(20, "other", "")]
    own = [session.Process(1, 0), session.Process(10, 100, parent=1), session.Process(11, 50, parent=10)]
    others = [session.Process(20, 900, parent=1), session.Process(21, 900, parent=20)]
    monkeypatch.setattr(session, "members", lambda _: own + others)
    before = dict.fromkeys((1, 10, 11, 20, 21), 0.0)
    waited = dict(before)
    monkeypatch.setattr(session, "seconds_waited", waited.__getitem__)
    used = reviving.seconds_computed(model)  # type: ignore[arg-type]
    assert used == 150 / os.sysconf("SC_CLK_TCK")
    waited.update({11: 4.0, 21: 4.0})  # of five seconds, in which a test image had no answer
    assert reviving.seconds_computed(model) - used > 0.1 * 5.0  # type: ignore[arg-type]
    waited.update({11: 0.5})  # as an idle process does on such a machine, whenever it wakes up
    assert reviving.seconds_computed(model) - used < 0.1 * 5.0  # type: ignore[arg-type]
