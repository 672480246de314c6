"""The search against machines whose every setup is known: what it drops, and that it finds the best."""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from maskserve.errors import ToolError
from maskserve_tools.tune.load import Turn, p95, rate_of, take_turn
from maskserve_tools.tune.record import FILE, Record
from maskserve_tools.tune.search import Search
from maskserve_tools.tune.setups import Setup, choose, second_round, splits
from maskserve_tools.tune.trial import groups
from tests.examples import examples

OPENVINO, ONNXRUNTIME = ("openvino", "fp32"), ("onnxruntime", "fp32")
LAYOUTS = ("ensemble", "single")
CURRENT = Setup("ensemble", "openvino", "fp32", 1, 2)


class Machine:
    """Answers at the rates of a table; it is slower in some turns than in others, for all alike."""

    def __init__(self, rates: Mapping[Setup, float], *, seed: int = 0, noise: float = 0.0) -> None:
        self.rates, self.noise, self.random = rates, noise, random.Random(seed)
        self.problems: dict[Setup, str] = {}
        self.broken: dict[Setup, str] = {}
        self.turns: list[Setup] = []
        self.stops_after: int | None = None
        self.groups: list[list[Setup]] = []

    def turn(self, setup: Setup) -> dict[int, Turn]:
        if self.stops_after is not None and len(self.turns) >= self.stops_after:
            raise KeyboardInterrupt
        self.turns.append(setup)
        busy = 1.0 + self.turns.count(CURRENT) % 3
        found = {}
        for clients, factor in ((1, 0.7), (4, 1.0)):
            rate = self.rates[setup] * factor / busy * (1 + self.noise * self.random.uniform(-1, 1))
            found[clients] = Turn(rate, (clients / rate,) * 5, 0.1)
        return found

    def memory(self, setup: Setup) -> int:
        return 1000 * setup.instances

    @contextmanager
    def serve(self, setups: Sequence[Setup]) -> Iterator[Machine]:
        self.groups.append(list(setups))
        self.problems = {setup: problem for setup, problem in self.broken.items() if setup in setups}
        yield self

    def search(self, folder: Path, *, exhaustive: bool = False, cpus: int = 2, turns: int = 4,
               engines: Sequence[tuple[str, str]] = (OPENVINO, ONNXRUNTIME),
               shown: Sequence[tuple[str, str]] = ()) -> tuple[Search, Record]:  # fmt: skip
        record = Record(folder, {"exhaustive": exhaustive})
        search = Search(
            current=CURRENT, engines=engines, shown=shown, layouts=LAYOUTS, cpus=cpus, clients=(1, 4), turns=turns,
            exhaustive=exhaustive, serve=self.serve, groups=lambda setups: [list(setups)], record=record,
            report=lambda line: None,
        )  # fmt: skip
        return search, record


def everything(cpus: int = 2) -> list[Setup]:
    return list(dict.fromkeys([CURRENT, *second_round((OPENVINO, ONNXRUNTIME), LAYOUTS, cpus)]))


def table(engines: Mapping[str, float], factors: Sequence[float]) -> dict[Setup, float]:
    """A rate for each setup: that of its engine, times one for its layout and split."""
    shapes = sorted({(s.layout, s.instances, s.threads) for s in everything()})
    factor = dict(zip(shapes, factors, strict=True))
    return {s: engines[s.engine] * factor[s.layout, s.instances, s.threads] for s in everything()}


@pytest.mark.parametrize(
    ("cpus", "pairs"),
    [
        (1, [(1, 1), (2, 1)]),
        (2, [(1, 2), (2, 1), (2, 2)]),
        (6, [(1, 6), (2, 3), (4, 1), (6, 1), (2, 6)]),
        (16, [(1, 16), (2, 8), (4, 4), (8, 2), (16, 1), (2, 16)]),
    ],
)
def test_splits_use_all_cpus(cpus: int, pairs: list[tuple[int, int]]) -> None:
    assert splits(cpus) == pairs


FACTORS = st.lists(st.floats(0.5, 1.5), min_size=6, max_size=6)


@settings(max_examples=examples(40), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(FACTORS, st.floats(5, 50), st.floats(5, 50), st.integers(0, 1000))
def test_the_choice_is_within_three_percent_of_the_best(
    tmp_path: Path, factors: list[float], openvino: float, onnxruntime: float, seed: int
) -> None:
    rates = table({"openvino": openvino, "onnxruntime": onnxruntime}, factors)
    machine = Machine(rates, seed=seed, noise=0.004)
    folder = tmp_path / str(next(_NUMBERS))
    search, record = machine.search(folder)
    chosen = choose(record.figures(search.run()), CURRENT).figures.setup
    assert rates[chosen] >= 0.97 * max(rates.values())


_NUMBERS = itertools.count()


def test_what_is_far_behind_is_not_measured_again(tmp_path: Path) -> None:
    rates = dict.fromkeys(everything(), 10.0)
    best = Setup("single", "openvino", "fp32", 2, 1)
    slow = Setup("ensemble", "openvino", "fp32", 2, 2)
    rates.update({best: 14.0, slow: 5.0})
    rates.update({setup: 4.0 for setup in rates if setup.engine == "onnxruntime"})
    machine = Machine(rates)
    search, record = machine.search(tmp_path)
    left = search.run()
    assert left == [CURRENT, best]
    assert len(record.turns(best)) == 4
    assert len(record.turns(slow)) == 1
    assert len(machine.turns) < 0.6 * 4 * len(rates)
    assert {s for s in record.setups if s.engine == "onnxruntime"} == {Setup("single", "onnxruntime", "fp32", 1, 2)}


def test_an_exhaustive_search_measures_all_in_every_turn(tmp_path: Path) -> None:
    machine = Machine(dict.fromkeys(everything(), 10.0))
    search, record = machine.search(tmp_path, exhaustive=True)
    assert sorted(search.run()) == sorted(everything())
    assert {len(record.turns(setup)) for setup in everything()} == {4}


def test_other_precisions_are_shown_and_never_chosen(tmp_path: Path) -> None:
    rates = dict.fromkeys(everything(), 10.0)
    rates[best := Setup("single", "openvino", "fp32", 2, 1)] = 14.0
    rates[quick := Setup("single", "openvino", "bf16", 2, 1)] = 50.0
    search, record = Machine(rates).search(tmp_path, shown=[("openvino", "bf16")])
    left = search.run()
    assert quick not in left
    assert choose(record.figures(left), CURRENT).figures.setup == best
    shown = next(figures for figures in record.figures(record.setups) if figures.setup == quick)
    assert shown.points[4].relative == pytest.approx(5.0)


def test_what_does_not_load_is_a_problem_and_the_others_are_measured(tmp_path: Path) -> None:
    machine = Machine(dict.fromkeys(everything(), 10.0))
    machine.broken = {(broken := Setup("single", "openvino", "fp32", 2, 2)): "no memory"}
    search, record = machine.search(tmp_path, engines=[OPENVINO])
    left = search.run()
    assert broken not in left
    assert len(left) == 5
    assert {figures.problem for figures in record.figures([broken])} == {"no memory"}


def test_nothing_can_be_compared_with_a_current_setup_that_does_not_load(tmp_path: Path) -> None:
    machine = Machine(dict.fromkeys(everything(), 10.0))
    machine.broken = {CURRENT: "no memory"}
    search, record = machine.search(tmp_path)
    with pytest.raises(
        ToolError, match=r"cannot be served as it is now \(ensemble, openvino, fp32, 1 x 2\).*no memory"
    ):
        search.run()
    record.add_problem(CURRENT, "no memory")  # as earlier versions noted it
    machine.broken = {}
    assert CURRENT in machine.search(tmp_path)[0].run()


def test_a_run_that_was_stopped_goes_on(tmp_path: Path) -> None:
    rates = table({"openvino": 10, "onnxruntime": 9}, [1, 1.1, 0.9, 1.3, 1.2, 0.8])
    whole = Machine(rates)
    search, _ = whole.search(tmp_path / "whole")
    expected = search.run()
    for stopped_at in range(1, len(whole.turns), 5):
        folder = tmp_path / str(stopped_at)
        first = Machine(rates)
        first.stops_after = stopped_at
        with pytest.raises(KeyboardInterrupt):
            first.search(folder)[0].run()
        with (folder / FILE).open("a", encoding="utf-8") as file:
            file.write('{"setup": {"layout": "sing')  # it was stopped while it wrote
        second = Machine(rates)
        search, _ = second.search(folder)
        assert search.run() == expected
        again = [setup for setup in second.turns if setup != CURRENT]
        assert len(again) + len([s for s in first.turns if s != CURRENT]) == len(
            [s for s in whole.turns if s != CURRENT]
        )
    third = Machine(rates)
    assert third.search(tmp_path / "whole")[0].run() == expected
    assert third.turns == []


def test_turns_under_other_conditions_do_not_count(tmp_path: Path) -> None:
    machine = Machine(dict.fromkeys(everything(), 10.0))
    machine.search(tmp_path)[0].run()
    _, record = machine.search(tmp_path, exhaustive=True)
    assert record.setups == []


def test_groups_fit_into_memory_and_have_the_current_setup() -> None:
    setups = everything()
    made = groups(setups, CURRENT, 100 << 20, 12 << 30)
    assert [setup for group in made for setup in group[1:]] == [s for s in setups if s != CURRENT]
    assert {group[0] for group in made} == {CURRENT}
    assert len(made) > 1
    assert all(sum(s.instances for s in group) <= 0.6 * 12 * 1024 / 1000 for group in made)
    assert groups(setups, CURRENT, 100 << 20, 1 << 40) == [[CURRENT, *(s for s in setups if s != CURRENT)]]
    assert [len(group) for group in groups(setups, CURRENT, 100 << 20, 0)] == [2] * (len(setups) - 1)


def test_clients_share_the_images_out_and_each_asks_at_least_once() -> None:
    seen: list[bytes] = []
    turn = take_turn(seen.append, [b"a", b"b", b"c"], clients=3, seconds=0.0, cpu=lambda: float(len(seen)))
    assert sorted(seen) == [b"a", b"b", b"c"]
    assert (len(turn.latencies), turn.cpu, turn.cpu_per_image) == (3, 3.0, 1.0)
    assert turn.rate > 0


def test_a_rate_is_that_of_the_time_in_which_all_ask() -> None:
    """A server with two places: answers come in twos, and at the end one place after the other is empty."""
    twos = [1.0 + i // 2 for i in range(20)]
    assert rate_of(0.0, twos, 10.0) == pytest.approx(2.0)
    assert rate_of(0.0, [*twos, 11.0, 13.0], 10.0) == pytest.approx(2.0)
    assert rate_of(0.0, [2.0, 2.0], 1.0) == 1.0  # too few for that
    assert rate_of(0.0, [0.5] * 8, 1.0) == 16.0


def test_the_95th_percentile() -> None:
    assert p95([3.0, 1.0]) == 3.0
    assert p95([float(n) for n in range(1, 101)]) == pytest.approx(95.95)
