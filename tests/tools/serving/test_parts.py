"""The parts of the embedded server that need no server."""

from __future__ import annotations

import importlib.metadata
import io
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from maskserve.errors import ToolError
from maskserve_tools.serving import environment, session, shared_memory_need, triton_wheel
from maskserve_tools.serving.log import TritonLog
from maskserve_tools.serving.ports import choose_ports, resolve_host
from maskserve_tools.serving.repository import Entry, client_facing, read_repository
from maskserve_tools.serving.shared_memory import RegionNamespace, remove_stale
from maskserve_tools.serving.shared_memory_need import check_room, needed_bytes
from tests.tools.serving.conftest import Repository

MIB = 1 << 20


class TestPorts:
    def test_free_ports_are_distinct(self) -> None:
        chosen = choose_ports("127.0.0.1", http=None, grpc=0, metrics=None)
        assert len({chosen.http, chosen.grpc, chosen.metrics} - {0}) == 3

    @pytest.mark.parametrize("listens", [True, False])
    @pytest.mark.parametrize("service", ["http", "grpc", "metrics"])
    def test_a_port_in_use_is_named_with_its_flag(self, service: str, listens: bool) -> None:
        with socket.socket() as other:
            other.bind(("127.0.0.1", 0))
            if listens:
                other.listen()
            port = other.getsockname()[1]
            wanted = {"http": 0, "grpc": 0, "metrics": 0, service: port}
            with pytest.raises(ToolError, match=rf"port {port} is in use on 127.0.0.1: .*--{service}-port"):
                choose_ports("127.0.0.1", **wanted)

    def test_a_lingering_connection_does_not_make_a_port_used(self) -> None:
        with socket.socket() as listener:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(("127.0.0.1", 0))
            listener.listen()
            port = listener.getsockname()[1]
            with socket.create_connection(("127.0.0.1", port)):
                listener.accept()[0].close()  # the side that closes first keeps the port in TIME_WAIT
        assert choose_ports("127.0.0.1", http=port, grpc=0, metrics=0).http == port

    def test_one_port_for_two_services_is_refused(self) -> None:
        with pytest.raises(ToolError, match="--http-port and --metrics-port are both 8000"):
            choose_ports("127.0.0.1", http=8000, grpc=None, metrics=8000)

    @pytest.mark.parametrize("port", [-1, 65536])
    def test_what_is_not_a_port_is_refused(self, port: int) -> None:
        with pytest.raises(ToolError, match=r"--grpc-port .* is not a port"):
            choose_ports("127.0.0.1", http=None, grpc=port, metrics=None)

    def test_a_foreign_address_is_refused(self) -> None:
        with pytest.raises(ToolError, match=r"192\.0\.2\.1 is not an address of this machine"):
            choose_ports("192.0.2.1", http=None, grpc=None, metrics=None)

    def test_a_host_without_an_ipv4_address_is_refused(self) -> None:
        assert resolve_host("localhost").startswith("127.")
        with pytest.raises(ToolError, match="--host ::1"):
            resolve_host("::1")


class TestRepository:
    def test_a_missing_one(self, tmp_path: Path) -> None:
        with pytest.raises(ToolError, match=r"no model repository at .*nowhere: .*maskserve convert"):
            read_repository(tmp_path / "nowhere")

    def test_an_empty_one(self, tmp_path: Path) -> None:
        (tmp_path / "README.md").write_text("")
        (tmp_path / ".hidden").mkdir()
        with pytest.raises(ToolError, match=r"holds no model: .*maskserve convert"):
            read_repository(tmp_path)

    def test_a_config_that_does_not_parse(self, repository: Repository) -> None:
        folder = repository.segmenter("bad")
        (folder / "config.pbtxt").write_text('name: "bad"\nmax_batch_size: many\n')
        with pytest.raises(ToolError, match=r"bad/config.pbtxt is broken.*2:17"):
            read_repository(repository.path)

    def test_a_config_that_is_not_text(self, repository: Repository) -> None:
        (repository.segmenter("bad") / "config.pbtxt").write_bytes(b"\xff\xfe\x00")
        with pytest.raises(ToolError, match=r"bad/config.pbtxt is broken"):
            read_repository(repository.path)

    def test_a_folder_without_a_config(self, repository: Repository) -> None:
        (repository.path / "stray").mkdir()
        with pytest.raises(ToolError, match=r"stray is not a model: it has no config.pbtxt"):
            read_repository(repository.path)

    def test_a_missing_step(self, repository: Repository) -> None:
        repository.ensemble("whole", step="whole.core")
        with pytest.raises(ToolError, match=r"whole calls whole\.core, which is not in"):
            read_repository(repository.path)

    def test_an_unknown_model(self, repository: Repository) -> None:
        repository.segmenter("known")
        with pytest.raises(ToolError, match=r"no model unknown in .*; it holds known"):
            read_repository(repository.path, ["unknown"])

    def test_the_chosen_models_bring_their_steps(self, repository: Repository) -> None:
        repository.segmenter("whole.core")
        repository.ensemble("whole", step="whole.core")
        repository.foreign("other")
        entries = read_repository(repository.path, ["whole"])
        assert {entry.name for entry in entries} == {"whole", "whole.core"}
        assert client_facing(entries) == ("whole",)

    def test_only_entries_of_the_contract_take_pictures(self, repository: Repository) -> None:
        repository.segmenter("ours")
        repository.foreign("theirs")
        assert {entry.name: entry.takes_pictures for entry in read_repository(repository.path)} == {
            "ours": True,
            "theirs": False,
        }


class TestRegionNamespace:
    def test_release_removes_its_own_and_nothing_else(self, tmp_path: Path) -> None:
        first, second = RegionNamespace.claim(tmp_path), RegionNamespace.claim(tmp_path)
        (tmp_path / f"{first.prefix}a").touch()
        (tmp_path / "triton_python_backend_shm_region_1").touch()
        kept = tmp_path / f"{second.prefix}b"
        kept.touch()
        first.release()
        names = {"triton_python_backend_shm_region_1", kept.name, f"{second.prefix[:-1]}.lock"}
        assert {path.name for path in tmp_path.iterdir()} == names
        second.release()

    def test_stale_ones_are_removed_and_living_ones_are_not(self, tmp_path: Path) -> None:
        program = (
            "import sys, pathlib; from maskserve_tools.serving.shared_memory import RegionNamespace;"
            "owned = RegionNamespace.claim(pathlib.Path(sys.argv[1]));"
            "(pathlib.Path(sys.argv[1]) / (owned.prefix + 'region')).touch()"
        )
        subprocess.run([sys.executable, "-c", program, str(tmp_path)], check=True)
        living = RegionNamespace.claim(tmp_path)
        (tmp_path / f"{living.prefix}region").touch()
        assert len(list(tmp_path.iterdir())) == 4
        remove_stale(tmp_path)
        assert {path.name for path in tmp_path.iterdir()} == {
            f"{living.prefix}region",
            f"{living.prefix[:-1]}.lock",
        }
        living.release()

    def test_a_process_that_inherits_the_lock_keeps_it(self, tmp_path: Path) -> None:
        regions = RegionNamespace.claim(tmp_path)
        with subprocess.Popen(["sleep", "60"], pass_fds=[regions.descriptor]) as heir:
            os.close(regions.descriptor)
            remove_stale(tmp_path)
            assert len(list(tmp_path.iterdir())) == 1
            heir.kill()
        remove_stale(tmp_path)
        assert list(tmp_path.iterdir()) == []

    def test_no_shared_memory_at_all(self, tmp_path: Path) -> None:
        with pytest.raises(ToolError, match=r"python models need .*missing: No such file"):
            RegionNamespace.claim(tmp_path / "missing")


class TestSharedMemoryNeed:
    @staticmethod
    def entry(*, batch: int = 0, instances: int = 1, backend: str = "python", dims: tuple[int, ...] = (3, 4)) -> Entry:
        model_config_pb2 = pytest.importorskip("tritonclient.grpc.model_config_pb2")
        config = model_config_pb2.ModelConfig(name="a", backend=backend, max_batch_size=batch)
        config.instance_group.add(count=instances)
        config.input.add(name="X", data_type="TYPE_FP32", dims=dims)
        return Entry("a", Path("a"), config)

    @given(st.integers(0, 8), st.integers(1, 4), st.lists(st.integers(1, 50), max_size=4).map(tuple))
    def test_it_counts_two_batches_for_each_instance(self, batch: int, instances: int, dims: tuple[int, ...]) -> None:
        elements = 1
        for dim in dims:
            elements *= dim
        needed = needed_bytes([self.entry(batch=batch, instances=instances, dims=dims)])
        assert needed == instances * (MIB + 2 * max(1, batch) * 4 * elements)

    def test_other_backends_use_none(self) -> None:
        assert needed_bytes([self.entry(backend="onnxruntime")]) == 0

    def test_an_image_file_and_an_open_dimension_count_as_large(self, repository: Repository) -> None:
        repository.segmenter("a")
        assert needed_bytes(read_repository(repository.path)) == MIB + 2 * (8 * MIB + 100 * 4 * 4)

    def test_an_open_batch_of_pictures_counts_as_one(self) -> None:
        assert needed_bytes([self.entry(dims=(-1, 20, 80, 80))]) == MIB + 2 * 20 * 80 * 80 * 4

    def test_open_sides_count_as_those_of_a_large_photo(self) -> None:
        assert needed_bytes([self.entry(dims=(1, 3, -1, -1))]) == MIB + 2 * 3 * 1344 * 1344 * 4
        assert needed_bytes([self.entry(dims=(1, -1, -1, -1))]) == MIB + 2 * 100 * 336 * 336 * 4

    def test_too_little_is_refused_with_the_mend(self) -> None:
        entries = [self.entry(dims=(1024, 1024, 10))]
        check_room(entries, free=81 * MIB)
        with pytest.raises(ToolError, match=r"about 81 MiB .* has 63 MiB free.*--shm-size=192m.*remount,size=192m"):
            check_room(entries, free=64 * MIB - 1)

    def test_free_bytes_are_those_of_the_file_system(self, tmp_path: Path) -> None:
        assert shared_memory_need.free_bytes(tmp_path) > 0


class TestLog:
    RECORD = "E1122 10:35:56.269430 10929 model_lifecycle.cc:642] \"failed to load 'bad' version 1: a\\nb\\n\""
    INFO = 'I1122 10:35:56.1 10929 model_lifecycle.cc:472] "loading: bad:1"'
    NO_GPU = 'E1122 10:35:52.769631 10876 server.cc:241] "CudaDriverHelper has not been initialized."'

    def test_a_stream_gets_problems_only(self) -> None:
        stream = io.StringIO()
        log = TritonLog(stream, verbose=False)
        for line in (self.INFO, self.NO_GPU, self.RECORD):
            log.append(line)
        assert stream.getvalue() == self.RECORD + "\n"

    def test_verbose_and_files_get_everything(self, tmp_path: Path) -> None:
        stream, path = io.StringIO(), tmp_path / "log"
        logs = [TritonLog(stream, verbose=True), TritonLog(path, verbose=False)]
        for log in logs:
            log.append(self.INFO)
            log.append(self.NO_GPU)
            log.close()
        assert stream.getvalue() == path.read_text() == f"{self.INFO}\n{self.NO_GPU}\n"

    def test_errors_are_readable_and_said_once(self) -> None:
        log = TritonLog(None, verbose=False)
        for line in (self.INFO, self.NO_GPU, self.RECORD, self.RECORD):
            log.append(line)
        assert log.errors() == ["failed to load 'bad' version 1: a\nb"]
        assert log.explain() == "\n  failed to load 'bad' version 1: a\n  b"

    def test_the_last_lines_explain_where_there_is_no_error(self) -> None:
        log = TritonLog(None, verbose=False)
        for number in range(20):
            log.append(f"line {number}")
        assert log.explain().split("\n  ")[1:] == [f"line {number}" for number in range(10, 20)]

    def test_a_closed_stream_does_not_stop_it(self) -> None:
        stream = io.StringIO()
        log = TritonLog(stream, verbose=True)
        stream.close()
        log.append(self.RECORD)
        assert log.errors()

    def test_events(self) -> None:
        log = TritonLog(None, verbose=False)
        log.append(self.INFO)
        assert (log.endpoint_failure, log.connections_open) == (None, False)
        log.append('I1122 10:30:18.996573 7648 http_server.cc:248] "Timeout 12: Found 1 HTTP service connections"')
        log.append(
            "E1122 10:36:07.157850 11380 main.cc:245] \"failed to start GRPC service: Socket '1' already in use\""
        )
        assert (log.endpoint_failure, log.connections_open) == (
            "failed to start GRPC service: Socket '1' already in use",
            True,
        )


class TestEnvironment:
    def test_numpy_2_is_refused(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(importlib.metadata, "version", lambda name: "2.1.3")
        with pytest.raises(ToolError, match=r"numpy 2.1.3 .*pip install \"numpy<2\""):
            environment.check_numpy()

    def test_the_missing_extra_is_named(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
        with pytest.raises(ToolError, match=r'pip install "maskserve\[embedded\]"'):
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
            while len(session.members(shell.pid)) < 3:
                assert shell.poll() is None
            session.kill(shell.pid)
            assert session.members(shell.pid) == []
            assert shell.wait() == -signal.SIGKILL

    def test_only_a_session_that_computes_nothing_is_quiet(self) -> None:
        with subprocess.Popen([sys.executable, "-c", "while True: pass"], start_new_session=True) as busy:
            watch = session.QuietWatch(busy.pid, window=0.01, load=0.0)
            before = processor_time(busy.pid)
            assert not watch.is_quiet()  # not watched for long enough
            while processor_time(busy.pid) < before + 5:
                pass
            assert not watch.is_quiet()
            busy.send_signal(signal.SIGSTOP)
            calm = session.QuietWatch(busy.pid, window=0.01)
            while not calm.is_quiet():
                pass
            busy.kill()


def processor_time(pid: int) -> int:
    return sum(process.ticks for process in session.members(pid))


class TestLauncher:
    def test_nothing_is_started_for_a_parent_that_is_gone(self, tmp_path: Path) -> None:
        from maskserve_tools.serving import launcher

        mark = tmp_path / "started"
        command = [sys.executable, "-I", "-S", launcher.__file__, "1", "/usr/bin/touch", str(mark)]
        subprocess.run(command, check=True)
        assert not mark.exists()
        command[4] = str(os.getpid())
        subprocess.run(command, check=True)
        assert mark.exists()
