"""Two servers with the demo model, and the proxies in front of them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import DEMO
from tests.deployment.fleet import MODEL, Fleet, running_fleet
from tests.deployment.proxies import INSTALL, RUNNING, Proxy, find


def installed(name: str) -> str:
    """The executable of a proxy; the test is skipped where it is not there."""
    path = find(name)
    if path is None:
        pytest.skip(f"{name} is not on this machine: {INSTALL[name]}")
    return path


@pytest.fixture(scope="module")
def fleet(demo_repository: Path) -> Iterator[Fleet]:
    """Started once; a test that loses the first server brings it back. The second has a model of its own, too."""
    pytest.importorskip("pytriton", reason="the embedded server needs nvidia-pytriton", exc_type=ImportError)
    with running_fleet(demo_repository, [MODEL], [MODEL, DEMO]) as running:
        yield running


@pytest.fixture(scope="module", params=RUNNING)
def proxy(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Proxy]:
    """Each proxy that is here, in front of the servers."""
    installed(request.param)
    fleet: Fleet = request.getfixturevalue("fleet")
    with RUNNING[request.param](fleet, tmp_path_factory.mktemp(request.param)) as running:
        yield running
