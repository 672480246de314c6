"""Who answers for whom, and the losses, on cases small enough to work out by hand."""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType

import pytest


@pytest.fixture(autouse=True)
def torch(needs: Callable[[str], ModuleType]) -> ModuleType:
    return needs("torch")


def test_locations_answer_for_the_person_they_overlap_most(torch: ModuleType) -> None:
    from maskserve_demo.assign import PER_PERSON, assign

    side = 8
    axis = (torch.arange(side) + 0.5) / side
    y, x = torch.meshgrid(axis, axis, indexing="ij")
    points = torch.stack([x.flatten(), y.flatten()], 1)
    people = torch.tensor([[0.0, 0.0, 0.5, 1.0], [0.5, 0.0, 1.0, 1.0]])
    boxes = torch.where(points[:, :1] < 0.5, people[0], people[1])
    found = assign(torch.full((64,), 0.5), boxes, points, people, torch.zeros(0, 4))

    assert len(found.locations) == 2 * PER_PERSON
    assert (found.people == (points[found.locations, 0] > 0.5).long()).all()
    assert torch.allclose(found.quality, torch.ones(2 * PER_PERSON))


def test_hidden_people_are_neither_found_nor_missed(torch: ModuleType) -> None:
    from maskserve_demo.assign import assign

    points = torch.tensor([[0.25, 0.25], [0.75, 0.75]])
    boxes = torch.zeros(2, 4)
    found = assign(torch.full((2,), 0.5), boxes, points, torch.zeros(0, 4), torch.tensor([[0.5, 0.5, 1.0, 1.0]]))
    assert found.ignored.tolist() == [False, True]
    assert not len(found.locations)


def test_losses_vanish_for_right_answers(torch: ModuleType) -> None:
    from maskserve_demo.losses import box_loss, mask_losses, score_loss

    boxes = torch.tensor([[0.25, 0.25, 0.75, 0.75]])
    assert box_loss(boxes, boxes).item() == pytest.approx(0, abs=1e-5)
    assert box_loss(boxes, boxes + 0.5).item() > 1
    right = torch.full((1, 32, 32), -20.0)
    right[:, 8:24, 8:24] = 20
    target = (right > 0).float()
    for loss in mask_losses(right, target, boxes):
        assert loss.item() == pytest.approx(0, abs=1e-4)
    for loss in mask_losses(-right, target, boxes):
        assert loss.item() > 0.5
    assert score_loss(torch.tensor([20.0]), torch.ones(1), torch.ones(1)).item() == pytest.approx(0, abs=1e-5)


def test_views_are_the_same_for_the_same_seed_and_step(torch: ModuleType) -> None:
    import numpy as np
    from maskserve_demo.batches import Views
    from maskserve_demo.images import ListedImage

    rng = np.random.default_rng(0)
    ids = np.zeros((120, 90), np.uint8)
    ids[20:100, 30:60] = 1
    somebody = ListedImage("somebody", rng.integers(0, 255, (120, 90, 3), np.uint8), ids)
    nobody = ListedImage("nobody", somebody.image, np.zeros_like(ids))
    one, two = (Views([somebody], [somebody, nobody], seed, 10, 2)[3] for seed in (7, 7))
    other = Views([somebody], [somebody, nobody], 8, 10, 2)[3]
    assert torch.equal(one.images, two.images)
    assert not torch.equal(one.images, other.images)
    for boxes, masks in zip(one.boxes, one.masks, strict=True):
        assert boxes.shape == (len(masks), 4)
        assert ((boxes >= 0) & (boxes <= 1)).all()
