"""What a running server lacks is found in what it answers."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest

from maskserve import contract
from maskserve.errors import InferenceFailed, ModelNotReady
from maskserve.transport.base import ServedModel, ServerStatus
from maskserve.transport.endpoint import parse_url
from maskserve.transport.wire import ImageRequest, Tensor
from maskserve_tools.doctor import exposure
from maskserve_tools.doctor import model_answers as health
from maskserve_tools.doctor.advisories import ADVISORIES, SAFE_RELEASE, advisories_for, parse_version
from maskserve_tools.doctor.finding import Level, exit_status, ok, problem, unknown, warning
from maskserve_tools.doctor.probe import (
    LIVE,
    LOGGING,
    METADATA,
    READY,
    REPOSITORY,
    SHARED_MEMORY,
    TRACE,
    Outcome,
    Question,
    Reply,
)
from tests.tools.doctor.conftest import levels, only

QUESTIONS = (LIVE, READY, METADATA, REPOSITORY, SHARED_MEMORY, TRACE, LOGGING)
EMPTY = [
    Tensor(contract.BOXES, "FP32", (0, 4), b""),
    Tensor(contract.SCORES, "FP32", (0,), b""),
    Tensor(contract.LABELS, "INT32", (0,), b""),
    Tensor(contract.MASKS, "BYTES", (0,), b""),
    Tensor(contract.MASK_BOXES, "INT32", (0, 4), b""),
    Tensor(contract.IMAGE_SIZE, "INT32", (2,), b"\x30\0\0\0\x40\0\0\0"),
]
OURS = {"parameters": {contract.PARAMETER_CONTRACT: {"string_value": "1"}}}
GRPC, HTTP = parse_url("grpc://localhost:8001"), parse_url("http://localhost:8000")
FAR = parse_url("http://triton.example.org:8000")


@dataclass
class FakeProbe:
    """Answers every question, but for those in `replies`."""

    replies: Mapping[Question, Reply] = field(default_factory=dict)

    def ask(self, question: Question) -> Reply:
        return self.replies.get(question, Reply(Outcome.ANSWERED, {}))

    def close(self) -> None:
        pass


@dataclass
class FakeTransport:
    """A server whose instances answer in turn; those in `dead` do not."""

    configs: Mapping[str, Mapping[str, Any]]
    answer: Callable[[], Sequence[Tensor]] = lambda: EMPTY
    instances: int = 1
    dead: frozenset[int] = frozenset()
    url: str = "grpc://localhost:8001"
    asked: int = 0

    def infer(self, model: str, request: ImageRequest) -> Sequence[Tensor]:
        self.asked += 1
        assert request.image.startswith(b"\x89PNG")
        if self.asked % self.instances in self.dead:
            raise ModelNotReady("Stub process 'seg_0' is not healthy.")
        return self.answer()

    def model_config(self, model: str) -> Mapping[str, Any]:
        return self.configs[model]

    def models(self) -> Sequence[ServedModel]:
        return [ServedModel(name, "READY") for name in self.configs]

    def status(self) -> ServerStatus:
        return ServerStatus("triton", "2.51.0", ready=True)

    def close(self) -> None:
        pass


def test_versions_are_read() -> None:
    assert parse_version("2.51.0") == (2, 51, 0)
    assert parse_version("2.59.1+nv") == (2, 59, 1)
    assert parse_version("") is None


def test_the_table_of_advisories_is_in_order_and_ends_at_the_safe_release() -> None:
    assert [advisory.fixed for advisory in ADVISORIES] == sorted(advisory.fixed for advisory in ADVISORIES)
    assert ADVISORIES[-1].release == SAFE_RELEASE
    holes = [hole for advisory in ADVISORIES for hole in advisory.holes]
    assert len(holes) == len(set(holes))
    months = [12 * int(a.release[:2]) + int(a.release[3:]) for a in ADVISORIES]
    steps = [
        (month - months[0], a.fixed[1] - ADVISORIES[0].fixed[1]) for month, a in zip(months, ADVISORIES, strict=True)
    ]
    assert all(middle == since - (since > 1) for since, middle in steps)  # 25.07 shares its number with 25.06


@pytest.mark.parametrize(
    ("version", "hole", "open_one"),
    [
        ((2, 51, 0), "CVE-2025-23319", True),
        ((2, 59, 0), "CVE-2025-23319", True),
        ((2, 59, 1), "CVE-2025-23319", False),
        ((2, 59, 1), "CVE-2025-23316", True),
        ((2, 60, 0), "CVE-2025-23316", False),
        ((2, 66, 0), "CVE-2026-24207", True),
        ((2, 67, 0), "CVE-2026-24207", False),
    ],
)
def test_a_hole_is_open_until_its_release(version: tuple[int, int, int], hole: str, open_one: bool) -> None:
    assert (hole in {each for advisory in advisories_for(version) for each in advisory.holes}) is open_one


def test_holes() -> None:
    old = exposure.check_holes((2, 51, 0), only_local=False)
    assert old.level is Level.PROBLEM
    assert "CVE-2025-23310" in old.why and SAFE_RELEASE in old.fix
    assert exposure.check_holes((2, 51, 0), only_local=True).level is Level.WARNING
    assert "CVE-2026-16497" in exposure.check_holes((2, 70, 0), only_local=False).why
    assert exposure.check_holes((2, 71, 0), only_local=False).level is Level.OK
    assert "does not tell" in exposure.check_holes(None, only_local=False).what


def test_apis_that_answer_without_a_key_are_found() -> None:
    findings = exposure.check_apis(FakeProbe(), GRPC)
    assert levels(findings) == {Level.WARNING}
    assert ["--grpc-restricted-protocol=shared-memory:" in finding.fix for finding in findings].count(True) == 1
    assert all("--http-restricted-api=" in finding.fix for finding in exposure.check_apis(FakeProbe(), HTTP))


@pytest.mark.parametrize("outcome", [Outcome.REFUSED, Outcome.NO])
def test_apis_that_do_not_answer_are_well(outcome: Outcome) -> None:
    closed = FakeProbe(dict.fromkeys((REPOSITORY, SHARED_MEMORY, TRACE, LOGGING), Reply(outcome)))
    assert levels(exposure.check_apis(closed, GRPC)) == {Level.OK}


@pytest.mark.parametrize(
    ("addresses", "level"),
    [(("127.0.0.1",), "ok"), (("127.0.0.1", "::1"), "ok"), (("0.0.0.0",), "warning"), (("::1", "10.0.0.7"), "warning")],
)
def test_addresses(addresses: tuple[str, ...], level: str) -> None:
    listening = [ipaddress.ip_address(address) for address in addresses]
    assert only(exposure.check_addresses(HTTP, listening)).level is Level(level)


def test_addresses_of_other_machines_are_not_seen() -> None:
    assert exposure.check_addresses(FAR, [ipaddress.ip_address("0.0.0.0")]) == []
    assert exposure.check_addresses(HTTP, []) == []


@pytest.mark.parametrize(
    ("url", "level"),
    [
        ("http://10.0.0.7", "warning"),
        ("grpc://triton", "warning"),
        ("grpc://[::1]:8001", "ok"),
        ("http://127.0.0.9", "ok"),
        ("https://10.0.0.7", "ok"),
        ("grpcs://triton", "ok"),
    ],
)
def test_encryption(url: str, level: str) -> None:
    assert exposure.check_encryption(parse_url(url)).level is Level(level)


def test_the_size_of_requests() -> None:
    assert exposure.check_request_size((2, 51, 0), HTTP).level is Level.WARNING
    assert exposure.check_request_size((2, 62, 0), HTTP).level is Level.OK
    assert exposure.check_request_size((2, 51, 0), GRPC).level is Level.OK


def test_reachable_and_ready() -> None:
    assert health.check_reachable(FakeProbe(), "x").level is Level.OK
    assert health.check_reachable(FakeProbe({LIVE: Reply(Outcome.NOBODY)}), "x").level is Level.UNKNOWN
    assert health.check_reachable(FakeProbe({LIVE: Reply(Outcome.NO)}), "x").level is Level.PROBLEM
    assert health.check_ready(FakeProbe()).level is Level.OK
    assert health.check_ready(FakeProbe({READY: Reply(Outcome.REFUSED)})).level is Level.OK
    assert health.check_ready(FakeProbe({READY: Reply(Outcome.NO)})).level is Level.PROBLEM


def test_loaded_models() -> None:
    ready, broken = ServedModel("a", "READY"), ServedModel("b", "UNAVAILABLE", "no weights")
    assert health.check_loaded([ready, ServedModel("c", "UNAVAILABLE", "unloaded")]) == []
    assert only(health.check_loaded([ready, broken])).why == "no weights"
    assert only(health.check_loaded([ready, broken])).level is Level.PROBLEM
    assert only(health.check_loaded([ready, ServedModel("d", "")])).level is Level.WARNING
    assert only(health.check_loaded([])).level is Level.PROBLEM


def test_a_model_that_answers_is_well() -> None:
    transport = FakeTransport({"seg": OURS})
    assert health.check_answers(transport, "seg").level is Level.OK
    assert transport.asked == 1


def test_a_model_of_somebody_else_is_not_tried() -> None:
    transport = FakeTransport({"resnet": {}})
    assert health.check_answers(transport, "resnet").level is Level.OK
    assert transport.asked == 0


def test_a_dead_stub_is_found_among_several() -> None:
    ensemble = {**OURS, "ensemble_scheduling": {"step": [{"model_name": "seg.core"}]}}
    configs: dict[str, dict[str, Any]] = {"seg": ensemble, "seg.core": {"instance_group": [{"count": 3}]}}
    assert health.check_answers(FakeTransport(configs, instances=3), "seg").level is Level.OK
    finding = health.check_answers(FakeTransport(configs, instances=3, dead=frozenset({0})), "seg")
    assert finding.level is Level.PROBLEM
    assert "restart the server" in finding.fix


@pytest.mark.parametrize("fault", ["error", "incomplete"])
def test_a_model_that_fails_is_found(fault: str) -> None:
    def failing() -> Sequence[Tensor]:
        if fault == "error":
            raise InferenceFailed("out of memory")
        return EMPTY[:1]

    finding = health.check_answers(FakeTransport({"seg": OURS}, answer=failing), "seg")
    assert finding.level is Level.PROBLEM and "test image" in finding.what


def test_the_exit_status() -> None:
    well, odd, bad = ok("a"), warning("b", "", ""), problem("c", "", "")
    assert exit_status([well, odd], strict=False) == 0
    assert exit_status([well, odd], strict=True) == 1
    assert exit_status([well, odd, bad], strict=False) == 1
    assert exit_status([bad, unknown("d", "", "")], strict=False) == 2


@pytest.mark.parametrize(("inputs", "asked"), [([{"name": "IMAGE"}, {"name": "THRESHOLD"}], 0.0), ([], None)])
def test_the_test_image_is_painted_where_a_threshold_can_be_named(inputs: list[Any], asked: float | None) -> None:
    thresholds = []

    class Listening(FakeTransport):
        def infer(self, model: str, request: ImageRequest) -> Sequence[Tensor]:
            thresholds.append(request.threshold)
            return super().infer(model, request)

    assert health.check_answers(Listening({"seg": {**OURS, "input": inputs}}), "seg").level is Level.OK
    assert thresholds == [asked]


def test_an_answer_for_another_image_is_a_problem() -> None:
    wrong = [*EMPTY[:-1], Tensor(contract.IMAGE_SIZE, "INT32", (2,), b"\x40\0\0\0\x30\0\0\0")]
    assert health.check_answers(FakeTransport({"seg": OURS}, answer=lambda: wrong), "seg").level is Level.PROBLEM
