"""One round of `make chaos` for each process and signal: nothing is wrong, nothing hangs, and all comes back."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.chaos.clients import Load
from tests.chaos.run import ROLES, SIGNALS, Outcome, one_round, serving
from tests.conftest import DEMO

# `make chaos` holds the ten seconds that are promised, on a machine that does nothing else.
_BACK_ON_A_BUSY_MACHINE = 40.0


@pytest.fixture(scope="module")
def under_load(demo_repository: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[int, Load]]:
    pytest.importorskip("pytriton", reason="the embedded server needs nvidia-pytriton", exc_type=ImportError)
    log = tmp_path_factory.mktemp("chaos") / "log"
    with serving(demo_repository, log) as (serve, addresses), Load(DEMO, addresses) as load:
        yield serve, load


@pytest.mark.parametrize("number", SIGNALS)
@pytest.mark.parametrize("role", ROLES)
def test_what_dies_or_freezes_comes_back(under_load: tuple[int, Load], role: str, number: signal.Signals) -> None:
    serve, load = under_load
    began = time.monotonic()
    back = one_round(load, serve, role, number)
    outcome = Outcome([attempt for attempt in load.attempts if attempt.ended >= began], [back])
    assert (outcome.wrong, outcome.hung) == ([], 0)
    assert back <= _BACK_ON_A_BUSY_MACHINE
