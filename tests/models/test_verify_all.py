"""The table of `benchmarks/verify_all.py`."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from benchmarks.verify_all import LOW, OFFICIAL, STRESS, WELL_CONDITIONED, _of_enough, sections_of_others

from maskserve_tools.verify.comparison import Comparison
from maskserve_tools.verify.verification import ImageVerdict

NONE = Comparison(0, 0, 0, 0, 0.0, 0.0, (), ())


@pytest.mark.parametrize("own", [WELL_CONDITIONED, WELL_CONDITIONED + STRESS, OFFICIAL])
@pytest.mark.parametrize("others", ["## Other exports\n\ntext\n", "<!-- grid -->\n\n## Grid\n\n<!-- end -->\n", ""])
def test_the_sections_of_others_stay_when_the_tables_are_written_anew(own: str, others: str, tmp_path: Path) -> None:
    document = tmp_path / "models.md"
    assert sections_of_others(document) == ""
    document.write_text(f"# Models\n\ntext\n{own}| a table |\n\n{others}", encoding="utf-8")
    assert sections_of_others(document).strip() == others.strip()


def test_the_low_threshold_counts_where_the_others_find_few() -> None:
    def verdicts(found: int) -> list[ImageVerdict]:
        images = (Path("a.png"), Path("b.png"))
        numbers = {0.5: 0, 0.3: found, LOW: 90}
        return [
            ImageVerdict(image, threshold, replace(NONE, matched=number))
            for image in images
            for threshold, number in numbers.items()
        ]

    assert [one.threshold for one in _of_enough(verdicts(10))] == [0.5, 0.3, 0.5, 0.3]
    assert _of_enough(verdicts(9)) == verdicts(9)
