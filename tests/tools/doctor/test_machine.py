"""What a machine lacks for a repository is found; one that has it all is well."""

from __future__ import annotations

import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from maskserve.errors import ToolError
from maskserve_server.painting.compiled import build, library
from maskserve_tools.doctor import capacity
from maskserve_tools.doctor import port_checks as ports
from maskserve_tools.doctor import python_environment as environment
from maskserve_tools.doctor.examination import examine_machine
from maskserve_tools.doctor.finding import Level
from maskserve_tools.doctor.machine import Machine
from maskserve_tools.doctor.read_entries import read_entries
from maskserve_tools.doctor.workload import as_started, memory_estimate
from tests.tools.doctor.conftest import GIB, Clinic, levels, machine, only


def packages(**versions: str) -> Callable[[str], str | None]:
    return lambda package: versions.get(package.replace("-", "_"))


def instances(count: int | None, kind: str = "KIND_CPU", **parameters: str) -> Callable[[Any], None]:
    def change(config: Any) -> None:
        del config.instance_group[:]
        config.instance_group.add(count=count, kind=kind)
        for key, value in parameters.items():
            config.parameters[key].string_value = value

    return change


@pytest.mark.parametrize(
    ("python", "level"), [((3, 9), "problem"), ((3, 10), "ok"), ((3, 12), "ok"), ((3, 13), "problem")]
)
def test_python(python: tuple[int, int], level: str) -> None:
    assert environment.check_python(python).level is Level(level)


@pytest.mark.parametrize(
    ("versions", "level"),
    [
        ({"numpy": "1.26.4", "nvidia_pytriton": "0.7.0"}, "ok"),
        ({"numpy": "2.1.0", "nvidia_pytriton": "0.7.0"}, "problem"),
        ({"numpy": "2.1.0"}, "ok"),  # where the container serves
        ({}, "problem"),
    ],
)
def test_the_numpy_pair(versions: dict[str, str], level: str) -> None:
    assert environment.check_numpy(packages(**versions)).level is Level(level)


@pytest.mark.parametrize(
    ("versions", "level", "words"),
    [
        ({"opencv_python_headless": "4.11.0.86"}, "warning", "CVE-2025-53644"),
        ({"opencv_contrib_python": "4.10.0.84"}, "warning", "opencv-contrib-python>=4.12"),
        ({"opencv_python_headless": "4.11.0.86", "nvidia_pytriton": "0.7.0"}, "ok", "CVE-2025-53644"),
        ({"opencv_python_headless": "4.12.0.88"}, "ok", "OpenCV 4.12"),
        ({"opencv_python_headless": "4.9.0.80"}, "ok", "OpenCV 4.9"),
        ({}, "ok", "not there"),
    ],
)
def test_the_hole_in_opencv_is_named(versions: dict[str, str], level: str, words: str) -> None:
    finding = environment.check_opencv(packages(**versions))
    assert finding.level is Level(level)
    assert words in " ".join(filter(None, (finding.what, finding.why, finding.fix)))


def test_the_embedded_server_is_missed(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing() -> None:
        raise ToolError("it is not installed")

    monkeypatch.setattr(environment, "find_triton_wheel", missing)
    assert environment.check_embedded_server().level is Level.WARNING
    assert environment.check_backends([]) == []


def test_an_environment_without_libpython_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("pytriton", reason="the embedded server needs nvidia-pytriton", exc_type=ImportError)
    assert environment.check_embedded_server().level is Level.OK

    def missing(wheel: object) -> None:
        raise ToolError("needs libpython3.11.so.1.0")

    monkeypatch.setattr(environment, "server_environment", missing)
    finding = environment.check_embedded_server()
    assert finding.level is Level.PROBLEM and "libpython" in finding.what


@pytest.mark.parametrize(
    ("versions", "level", "words"),
    [
        ({"openvino": "2026.1.5"}, "ok", "openvino 2026.1.5"),
        ({"openvino": "2026.2.0"}, "warning", "openvino 2026.2.0"),
        ({"onnxruntime": "1.20"}, "problem", "openvino"),
    ],
)
def test_the_engine(clinic: Clinic, versions: dict[str, str], level: str, words: str) -> None:
    finding = only(environment.check_engines(clinic.read(), packages(**versions)))
    assert finding.level is Level(level)
    assert words in finding.what


def test_an_engine_that_is_not_known_is_found(clinic: Clinic) -> None:
    clinic.record("seg.core", engine={"name": "tensorrt"})
    assert only(environment.check_engines(clinic.read())).level is Level.PROBLEM


def test_masks_painted_in_numpy_are_found_with_the_remedy(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv(library.SWITCH, raising=False)
    here = packages(openvino="2026.1.0")
    monkeypatch.setattr(build, "LIBRARIES", tmp_path)
    finding = only(environment.check_painting(here))
    assert finding.level is Level.WARNING
    assert str(tmp_path / build.name()) in finding.what
    assert f"python -m {build.__name__}" in finding.fix
    (tmp_path / build.name()).write_bytes(b"of another system")
    assert str(tmp_path / build.name()) in only(environment.check_painting(here)).what
    monkeypatch.setenv(library.SWITCH, "0")
    finding = only(environment.check_painting(here))
    assert (finding.level, finding.what) == (Level.WARNING, f"{library.SWITCH} is 0")
    assert environment.check_painting(packages()) == []  # no model can run in this environment


def test_a_library_of_other_sources_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(library.SWITCH, raising=False)
    if library.why_missing():
        pytest.skip("no compiled library here")
    here = packages(onnxruntime="1.20")
    assert only(environment.check_painting(here)).level is Level.OK
    monkeypatch.setattr(build, "digest", lambda: 1)
    finding = only(environment.check_painting(here))
    assert finding.level is Level.WARNING and "made of other sources" in finding.what


def test_a_backend_that_the_embedded_server_does_not_have_is_found(clinic: Clinic) -> None:
    pytest.importorskip("pytriton", reason="the embedded server needs nvidia-pytriton", exc_type=ImportError)
    assert environment.check_backends(clinic.read()) == []
    clinic.to_backend("seg.core", "onnxruntime")
    assert "onnxruntime backend" in only(environment.check_backends(clinic.read())).what
    assert environment.check_engines(clinic.read(), packages()) == []  # the container has it


def test_shared_memory(clinic: Clinic) -> None:
    entries = clinic.read()
    assert capacity.check_shared_memory(entries, machine()).level is Level.OK
    finding = capacity.check_shared_memory(entries, machine(shared_memory=1 << 20))
    assert finding.level is Level.PROBLEM
    assert "--shm-size=" in finding.fix


def test_memory(clinic: Clinic) -> None:
    entries = clinic.read()
    needed = memory_estimate(entries)
    found = {
        share: capacity.check_memory(entries, machine(memory=int(share * needed))).level for share in (0.5, 1.1, 2.0)
    }
    assert found == {0.5: Level.PROBLEM, 1.1: Level.WARNING, 2.0: Level.OK}
    assert capacity.check_memory(entries, machine(memory=None)).level is Level.OK


def test_the_memory_estimate_is_what_was_measured(clinic: Clinic) -> None:
    """docs/benchmarks.md, Mask-RT-DETR-S: within 20 % for both layouts, one instance and two; then by the weights."""

    def estimate() -> int:
        return memory_estimate(clinic.read()) >> 20

    assert estimate() == pytest.approx(595, rel=0.2)
    clinic.configure("seg.core", instances(2))
    assert estimate() == pytest.approx(949, rel=0.2)
    clinic.convert("seg", layout="single")
    assert estimate() == pytest.approx(459, rel=0.2)
    clinic.configure("seg", instances(1, instances="2"))
    assert estimate() == pytest.approx(645, rel=0.2)
    clinic.configure("seg", instances(1, instances="auto"))
    before = estimate()
    with (clinic.path / "seg" / "1" / "core.onnx").open("wb") as file:
        file.truncate(257 << 20)
    assert estimate() - before == 2 * 200


@pytest.mark.parametrize(
    ("count", "batch", "arena", "measured"),
    [(1, 0, "0", 403), (2, 0, "0", 887), (2, 0, "1", 886), (1, 4, "1", 1330), (2, 4, "1", 2660)],
)
def test_the_memory_of_a_core_in_a_backend(clinic: Clinic, count: int, batch: int, arena: str, measured: int) -> None:
    """Mask-RT-DETR-S in the ONNX Runtime backend, the memory of tritonserver; the two other steps have more."""
    clinic.to_backend("seg.core", "onnxruntime", enable_mem_arena=arena)
    clinic.configure("seg.core", instances(count))
    clinic.configure("seg.core", lambda config: setattr(config, "max_batch_size", batch))
    cores = [entry for entry in clinic.read() if entry.name == "seg.core"]
    assert memory_estimate(cores) >> 20 == pytest.approx(measured, rel=0.2)


@pytest.mark.parametrize(
    ("count", "threads", "limits", "level"),
    [
        (1, None, {}, "ok"),
        (3, None, {}, "ok"),  # one each, and one core is left for the other steps
        (2, "4", {}, "warning"),
        (1, "1", {}, "warning"),  # three cores are not used
        (8, None, {}, "warning"),
        (1, None, {"cores": 64, "quota": 2.0}, "ok"),  # docker run --cpus=2: the model sees that
        (1, "64", {"cores": 64, "quota": 2.0}, "warning"),
        (None, None, {"cores": 64}, "ok"),  # whoever serves it takes what fits
        (1, "2", {"cores": 64, "quota": 2.0}, "ok"),
    ],
)
def test_threads(clinic: Clinic, count: int | None, threads: str | None, limits: dict[str, Any], level: str) -> None:
    clinic.configure("seg.core", instances(count, **({"threads": threads} if threads else {})))
    finding = only(capacity.check_cores(clinic.read(), machine(**limits)))
    assert finding.level is Level(level), finding


@pytest.mark.parametrize(
    ("backend", "parameters", "level", "advice"),
    [
        ("onnxruntime", {"intra_op_thread_count": "2"}, "ok", ""),
        ("onnxruntime", {}, "ok", ""),  # whoever starts the container shares out the cores
        ("onnxruntime", {"intra_op_thread_count": "4"}, "warning", "intra_op_thread_count: 2"),
        ("onnxruntime", {"intra_op_thread_count": "two"}, "problem", "correct its config.pbtxt"),
        ("openvino", {"INFERENCE_NUM_THREADS": "4"}, "ok", ""),  # which its instances share
        ("openvino", {"INFERENCE_NUM_THREADS": "8"}, "warning", "INFERENCE_NUM_THREADS: 4"),
    ],
)
def test_threads_of_a_container_core(
    clinic: Clinic, backend: str, parameters: dict[str, str], level: str, advice: str
) -> None:
    clinic.to_backend("seg.core", backend, **parameters)
    clinic.configure("seg.core", instances(2))
    finding = only(capacity.check_cores(clinic.read(), machine(cores=4)))
    assert finding.level is Level(level)
    assert advice in finding.fix


def test_open_files() -> None:
    assert capacity.check_open_files(machine(open_files=256)).level is Level.WARNING
    assert capacity.check_open_files(machine(open_files=1024)).level is Level.OK
    assert capacity.check_open_files(machine(open_files=None)).level is Level.OK


def test_the_processor(clinic: Clinic) -> None:
    entries = clinic.read()
    assert capacity.check_processor(entries, machine(cpu_flags=frozenset({"sse4_2"}))).level is Level.WARNING
    plain = capacity.check_processor(entries, machine())
    assert plain.level is Level.OK and "AVX-512" in plain.what
    faster = capacity.check_processor(entries, machine(cpu_flags=frozenset({"avx2", "amx_bf16"})))
    assert faster.level is Level.OK and "--precision bf16" in faster.what


def test_a_precision_that_the_processor_does_not_have_is_found(clinic: Clinic) -> None:
    with_bf16 = machine(cpu_flags=frozenset({"avx2", "avx512_bf16"}))
    assert capacity.check_precision(clinic.read(), machine()) == []
    clinic.record("seg.core", engine={"name": "openvino", "precision": "bf16"})
    assert only(capacity.check_precision(clinic.read(), machine())).level is Level.PROBLEM
    assert capacity.check_precision(clinic.read(), with_bf16) == []


def test_int8_wants_its_instructions(clinic: Clinic) -> None:
    clinic.record("seg.core", engine={"name": "openvino", "precision": "int8"})
    finding = only(capacity.check_precision(clinic.read(), machine(cpu_flags=frozenset({"avx2"}))))
    assert finding.level is Level.WARNING and "multiplies no 8-bit integers, but seg.core is in int8" in finding.what
    assert "overflow" in finding.why and "convert it on this machine" in finding.fix
    clinic.record("seg.core", engine={"name": "openvino", "precision": "int8"}, int8={"weights": "7 bits"})
    narrow = only(capacity.check_precision(clinic.read(), machine(cpu_flags=frozenset({"avx2"}))))
    assert narrow.level is Level.WARNING and "overflow" not in narrow.why
    for flag in ("avx512_vnni", "avx_vnni", "amx_int8", "asimddp"):
        assert capacity.check_precision(clinic.read(), machine(cpu_flags=frozenset({"avx2", flag}))) == []


def test_fp16_that_tensorrt_11_does_not_have_is_found(clinic: Clinic) -> None:
    clinic.to_backend("seg.core", "onnxruntime")

    def accelerate(config: Any, **parameters: str) -> None:
        group = config.optimization.execution_accelerators.gpu_execution_accelerator
        group.add(name="tensorrt", parameters=parameters)

    clinic.configure("seg.core", accelerate)
    assert capacity.check_precision(clinic.read(), machine()) == []
    clinic.configure("seg.core", lambda config: accelerate(config, precision_mode="FP16"))
    finding = only(capacity.check_precision(clinic.read(), machine()))
    assert finding.level is Level.WARNING and "containers from 26.06 on do not have" in finding.what


def test_a_precision_that_openvino_does_not_keep_is_found(clinic: Clinic) -> None:
    clinic.to_backend("seg.core", "openvino")
    assert capacity.check_precision(clinic.read(), machine()) == []
    finding = only(capacity.check_precision(clinic.read(), machine(cpu_flags=frozenset({"avx2", "amx_bf16"}))))
    assert finding.level is Level.WARNING and "seg.core" in finding.what


def test_gpus(clinic: Clinic) -> None:
    assert capacity.check_gpu(clinic.read(), machine()).level is Level.OK
    assert capacity.check_gpu(clinic.read(), machine(gpus=1)).level is Level.WARNING
    clinic.to_backend("seg.core", "onnxruntime")
    clinic.configure("seg.core", instances(1, "KIND_GPU"))
    clinic.record("seg.core", engine={"name": "onnxruntime", "precision": "fp16"})
    assert capacity.check_gpu(clinic.read(), machine()).level is Level.PROBLEM
    assert capacity.check_gpu(clinic.read(), machine(gpus=1)).level is Level.OK
    assert capacity.check_precision(clinic.read(), machine()) == []  # the GPU's affair
    assert capacity.check_cores(clinic.read(), machine()) == []


def test_ports() -> None:
    with socket.socket() as free, socket.socket() as taken:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
        free.close()
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        number = taken.getsockname()[1]
        assert only(ports.check_ports({"http": port})).level is Level.OK
        finding = only(ports.check_ports({"http": port, "grpc": number}))
        assert finding.level is Level.WARNING
        assert str(number) in finding.what and "--grpc-port" in finding.fix


def test_who_listens_where() -> None:
    with socket.socket() as server, socket.socket(socket.AF_INET6) as mapped:
        server.bind(("127.0.0.1", 0))
        port = server.getsockname()[1]
        assert ports.listening_addresses(port) == set()
        server.listen()
        assert set(map(str, ports.listening_addresses(port))) == {"127.0.0.1"}
        mapped.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        mapped.bind(("::ffff:127.0.0.1", 0))
        mapped.listen()
        assert set(map(str, ports.listening_addresses(mapped.getsockname()[1]))) == {"127.0.0.1"}


def test_what_the_kernel_says(tmp_path: Path) -> None:
    for name in ("proc", "dev/shm", "sys/fs/cgroup"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "proc/meminfo").write_text("MemTotal: 9000000 kB\nMemAvailable:    4194304 kB\n")
    (tmp_path / "proc/cpuinfo").write_text("processor : 0\nflags\t\t: fpu avx2 amx_bf16\n\nprocessor : 1\n")
    for name in ("nvidia0", "nvidia1", "nvidiactl"):
        (tmp_path / "dev" / name).touch()
    bare = Machine.look(tmp_path)
    assert (bare.memory, bare.quota, bare.gpus) == (4 * GIB, None, 2)
    assert {"avx2", "amx_bf16"} <= bare.cpu_flags
    group = tmp_path / "sys/fs/cgroup"
    for name, text in {"cpu.max": "150000 100000", "memory.max": str(2 * GIB), "memory.current": str(GIB)}.items():
        (group / name).write_text(f"{text}\n")
    limited = Machine.look(tmp_path)
    assert (limited.memory, limited.quota, limited.usable_cores) == (GIB, 1.5, min(2, limited.cores))
    (group / "cpu.max").write_text("max 100000\n")
    (group / "memory.max").write_text("max\n")
    unlimited = Machine.look(tmp_path)
    assert (unlimited.memory, unlimited.quota) == (4 * GIB, None)


def test_what_the_kernel_says_of_older_groups(tmp_path: Path) -> None:
    (tmp_path / "dev/shm").mkdir(parents=True)
    for name, text in {
        "cpu/cpu.cfs_quota_us": "250000",
        "cpu/cpu.cfs_period_us": "100000",
        "memory/memory.limit_in_bytes": str(3 * GIB),
        "memory/memory.usage_in_bytes": str(GIB),
    }.items():
        path = tmp_path / "sys/fs/cgroup" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    assert Machine.look(tmp_path).quota == 2.5
    assert Machine.look(tmp_path).memory == 2 * GIB
    (tmp_path / "sys/fs/cgroup/cpu/cpu.cfs_quota_us").write_text("-1")
    assert Machine.look(tmp_path).quota is None


def test_a_machine_is_looked_at_with_and_without_a_repository(clinic: Clinic) -> None:
    small = machine(shared_memory=1 << 20, memory=1 << 20)
    assert Level.PROBLEM in levels(list(examine_machine(read_entries(clinic.path), small, ports_matter=False).findings))
    alone = [finding.what for finding in examine_machine(None, small, ports_matter=False).findings]
    assert not any("/dev/shm" in what for what in alone)


def test_a_large_machine_needs_more_for_what_says_nothing(clinic: Clinic) -> None:
    found = {cores: memory_estimate(as_started(clinic.read(), cores)) >> 20 for cores in (2, 4, 8, 16)}
    assert found[2] == found[4]
    assert found[4] < found[8] < found[16]
    size = as_started(clinic.read(), 16)
    assert {entry.name: entry.instances for entry in size if "." in entry.name} == {
        "seg.core": 4, "seg.postprocess": 2, "seg.preprocess": 1
    }  # fmt: skip
    clinic.configure("seg.core", instances(1))
    assert memory_estimate(as_started(clinic.read(), 16)) >> 20 == found[2]
    assert memory_estimate(clinic.read()) >> 20 == found[2]  # the entries stay as they are
