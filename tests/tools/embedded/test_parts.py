"""The parts of the embedded server that need no server."""

from __future__ import annotations

import io
import os
import re
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from maskserve.errors import ToolError
from maskserve_tools.embedded import shared_memory_need
from maskserve_tools.embedded.log import TritonLog
from maskserve_tools.embedded.ports import choose_ports, is_loopback, resolve_host
from maskserve_tools.embedded.served_entries import Entry, client_facing, read_repository
from maskserve_tools.embedded.shared_memory import RegionNamespace, remove_stale
from maskserve_tools.embedded.shared_memory_need import check_room, needed_bytes
from tests.tools.embedded.conftest import Repository

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

    @pytest.mark.parametrize(("host", "address"), [("::1", "::1"), ("[::1]", "::1"), ("127.0.0.1", "127.0.0.1")])
    def test_addresses_of_both_kinds_are_taken(self, host: str, address: str) -> None:
        assert resolve_host(host) == address
        assert is_loopback(address)

    def test_a_name_with_both_means_the_older_one(self) -> None:
        assert resolve_host("localhost").startswith("127.")

    @pytest.mark.parametrize("host", ["no.such.host.invalid", "::1::"])
    def test_what_is_no_host_is_refused(self, host: str) -> None:
        with pytest.raises(ToolError, match=re.escape(f"--host {host} is not an address")):
            resolve_host(host)

    def test_an_ipv6_port_in_use_is_told_in_brackets(self) -> None:
        with socket.socket(socket.AF_INET6) as other:
            other.bind(("::1", 0))
            other.listen()
            port = other.getsockname()[1]
            with pytest.raises(ToolError, match=rf"port {port} is in use on ::1"):
                choose_ports("::1", http=port, grpc=None, metrics=None)


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
        assert read_repository(repository.path, "whole") == entries
        assert {entry.name for entry in entries} == {"whole", "whole.core"}
        assert client_facing(entries) == ("whole",)

    def test_only_entries_of_the_contract_take_pictures(self, repository: Repository) -> None:
        repository.segmenter("ours")
        repository.foreign("theirs")
        assert {entry.name: entry.takes_images for entry in read_repository(repository.path)} == {
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
            "import sys, pathlib; from maskserve_tools.embedded.shared_memory import RegionNamespace;"
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

    def test_an_estimate_warns_with_the_fix(self, capsys: pytest.CaptureFixture[str]) -> None:
        entries = [self.entry(dims=(1024, 1024, 10))]
        check_room(entries, free=81 * MIB)
        assert capsys.readouterr().err == ""
        check_room(entries, free=64 * MIB - 1)
        said = capsys.readouterr().err
        assert re.search(r"about 81 MiB .* has 63 MiB free.*--shm-size=192m.*remount,size=192m", said)

    def test_what_is_certain_is_refused(self) -> None:
        entries = [self.entry(dims=(1024, 1024, 10))]
        with pytest.raises(ToolError, match=r"1 MiB .* at the start, but .* has 0 MiB free.*--shm-size=192m"):
            check_room(entries, free=MIB - 1)

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

    def test_another_start_is_not_explained_by_what_requests_before_it_did(self) -> None:
        log = TritonLog(None, verbose=False)
        log.append('I1018 12:00:00.000000 7 http_server.cc:4725] "Started HTTPService at 127.0.0.1:8000"')
        log.append(self.RECORD)
        assert log.open
        log.forget_start()
        log.append("line 1")
        assert (log.explain(), log.open) == ("\n  line 1", False)

    def test_a_closed_stream_does_not_stop_it(self) -> None:
        stream = io.StringIO()
        log = TritonLog(stream, verbose=True)
        stream.close()
        log.append(self.RECORD)
        assert log.errors()

    def test_events(self) -> None:
        log = TritonLog(None, verbose=False)
        log.append(self.INFO)
        assert (log.endpoint_failure, log.looks_at_connections) == (None, 0)
        log.append('I1122 10:30:18.996573 7648 http_server.cc:248] "Timeout 12: Found 1 HTTP service connections"')
        log.append(
            "E1122 10:36:07.157850 11380 main.cc:245] \"failed to start GRPC service: Socket '1' already in use\""
        )
        assert (log.endpoint_failure, log.looks_at_connections) == (
            "failed to start GRPC service: Socket '1' already in use",
            1,
        )
        log.append('I1122 10:30:19.996573 7648 server.cc:305] "Waiting for in-flight requests to complete."')
        assert log.looks_at_connections == 0
