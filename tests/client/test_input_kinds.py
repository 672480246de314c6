import re
from collections.abc import Iterator

import pytest
from tests.input_kinds import KINDS, PIXELS, Place, make_place, source_of, taken, website

from maskserve import Failure
from maskserve.pipeline import Pipeline


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    folder = tmp_path_factory.mktemp("kinds")
    make_place(folder)
    with website(folder) as url:
        yield Place(folder, url)


@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
@pytest.mark.parametrize("concurrency", [1, 3])
def test_every_kind_of_input(transport, place, kind, concurrency):
    found = taken(Pipeline("tiny", transport, generation="3.x", concurrency=concurrency), kind, place)
    assert tuple(source_of(result, place) for result in found) == kind.sources
    assert {result.instances.image_size for result in found} <= {kind.size}
    assert {result.draw().size[::-1] for result in found} <= {kind.size}


ERRORS = {name: kind for name, kind in KINDS.items() if kind.error}


@pytest.mark.parametrize("kind", ERRORS.values(), ids=ERRORS)
def test_every_error_may_be_returned(transport, place, kind):
    """In its place: what comes after it is segmented, too."""
    pipeline = Pipeline("tiny", transport)
    outcomes = list(pipeline.predict([kind.source(place), PIXELS], on_error="return"))
    (failure,) = [outcome for outcome in outcomes if isinstance(outcome, Failure)]
    assert isinstance(failure.error, kind.error)
    assert re.search(kind.message, str(failure.error))
    assert len(str(failure.error)) < 500
    assert not isinstance(outcomes[-1], Failure)
