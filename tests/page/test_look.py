"""The page draws by the same rules as the client: the same numbers, the same colours, labels in the same places."""

from __future__ import annotations

from typing import Any

import numpy as np

from maskserve.drawing.look import look
from maskserve.drawing.placing import place_labels
from maskserve.instances import Instances
from tests.client.drawing.scenes import blobs, filled, instances_of
from tests.page import node

SIZES = [(480, 640), (640, 480), (1080, 1920), (97, 131), (48, 48), (30, 800), (3000, 4000), (1, 1)]


def ask(question: dict[str, Any]) -> Any:
    return node.ask("placing.mjs", question)


def scene(found: Instances, sizes: list[tuple[int, int]]) -> dict[str, Any]:
    height, width = found.image_size
    instances = [
        {
            "score": instance.score,
            "box": list(instance.box),
            "counts": instance.mask.counts.decode("ascii"),
            "window": dict(zip(("x", "y", "width", "height"), instance.mask.box, strict=True)),
        }
        for instance in found
    ]
    return {"instances": instances, "photo": {"width": width, "height": height}, "sizes": [sizes] * len(found)}


def scenes() -> list[tuple[Instances, list[tuple[int, int]]]]:
    rng = np.random.default_rng(18)
    texts = [(72, 20), (40, 20)]
    found = [(blobs(rng, int(rng.integers(0, 30)), size), texts) for size in SIZES for _ in range(3)]
    crowd = [filled((480, 640), x, y, x + 9, y + 9) for x in range(280, 340, 10) for y in range(200, 240, 10)]
    empty = instances_of([np.zeros((480, 640))] * 2, (480, 640), boxes=[(100.6, 90.2, 180.7, 160.9), (5, 5, 5, 5)])
    large = [(290, 80), (160, 80)]
    many = [(blobs(rng, 72, size), texts) for size in ((480, 640), (240, 320), (600, 300))]
    found += [*many, (blobs(rng, 150, (480, 640)), texts)]
    return [*found, (instances_of(crowd, (480, 640)), texts), (empty, texts), (blobs(rng, 40, (3000, 4000)), large)]


def test_labels_have_the_same_places() -> None:
    told = scenes()
    answer = ask({"scenes": [scene(found, sizes) for found, sizes in told], "colours": []})
    placed = 0
    for (found, sizes), theirs in zip(told, answer["places"], strict=True):
        ours = place_labels(found, [sizes] * len(found))
        assert [(plate["index"], plate["choice"], plate["x"], plate["y"]) for plate in theirs] == [
            (plate.position, plate.choice, plate.x, plate.y) for plate in ours
        ]
        assert [plate["towards"] and tuple(plate["towards"]) for plate in theirs] == [plate.towards for plate in ours]
        placed += len(ours)
    assert placed > 150


def test_the_numbers_and_the_colours_are_the_same() -> None:
    numbers = [0, 5, 23, 24, 100, -1]
    answer = ask({"scenes": [], "colours": numbers})
    assert answer["look"] == look()
    palette = look()["palette"]
    assert answer["colours"] == [palette[number % len(palette)] for number in numbers]
