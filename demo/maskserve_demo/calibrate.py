"""Make scores mean something: `python -m maskserve_demo.calibrate --model DIR --pennfudan DIR --coco128 DIR`.

The network is taught to predict how well a location's box fits, which it can only do on average: people it is sure
of score about 0.6, while PaddleX draws what scores more than 0.5. So a logistic regression (Platt scaling) on the
training photos turns the logit into the probability that a row is a person (mask IoU at least 0.5). It changes no
order and sees no held-out photo. `--model` is an export without calibration; the result goes to `calibration.json`.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
from rich.progress import track

from .evaluate import Predictor
from .photos import Photo, held_out, read_coco128, read_pennfudan

RIGHT = 0.5  # mask IoU from which a row is right
LEAST = 0.05  # rows that score less are duplicates and noise; they stay out of the fit
RIDGE = 1e-3
ROUNDS = 50


def right_rows(masks: np.ndarray, photo: Photo) -> np.ndarray:
    """Return which masks [N, H, W], best first, find a person that no better one has found."""
    people = [photo.ids == person for person in photo.people]
    free = set(range(len(people)))
    right = np.zeros(len(masks), bool)
    for row, mask in enumerate(masks > 0):
        overlaps = {i: (mask & people[i]).sum() / max((mask | people[i]).sum(), 1) for i in free}
        best = max(overlaps, key=lambda i: overlaps[i], default=None)
        if best is not None and overlaps[best] >= RIGHT:
            right[row] = True
            free.discard(best)
    return right


def fit(logits: np.ndarray, right: np.ndarray) -> tuple[float, float]:
    """Scale and shift of the logistic regression (Newton's method, slightly ridged)."""
    inputs = np.stack([logits, np.ones_like(logits)], 1)
    weights = np.zeros(2)
    for _ in range(ROUNDS):
        probability = 1 / (1 + np.exp(-inputs @ weights))
        slope = inputs.T @ (probability - right) + RIDGE * weights
        curve = (inputs * (probability * (1 - probability))[:, None]).T @ inputs + RIDGE * np.eye(2)
        weights -= np.linalg.solve(curve, slope)
    return float(weights[0]), float(weights[1])


def main() -> None:
    """Fit on the training photos."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", type=Path, required=True, help="inference folder exported without calibration")
    parser.add_argument("--pennfudan", type=Path, required=True, help="folder with images/ and masks/")
    parser.add_argument("--coco128", type=Path, required=True, help="folder with photos and labels/")
    parser.add_argument("--out", type=Path, required=True, help="JSON file to write")
    parser.add_argument("--every", type=int, default=3, help="use each n-th photo; two numbers need no more")
    parser.add_argument("--threads", type=int, default=2)
    arguments = parser.parse_args()
    photos = [p for p in read_pennfudan(arguments.pennfudan) if p.name not in held_out("pennfudan")]
    photos += [p for p in read_coco128(arguments.coco128) if p.name not in held_out("coco128")]
    photos = photos[:: arguments.every]
    predictor = Predictor(arguments.model, arguments.threads)
    scores, right = [], []
    for photo in track(photos, "predicting"):
        rows, masks = predictor(photo.image)
        kept = rows[:, 1] >= LEAST
        scores.append(rows[kept, 1].astype(np.float64))
        right.append(right_rows(masks[kept], photo))
    score = np.concatenate(scores)
    scale, shift = fit(np.log(score / (1 - score)), np.concatenate(right))
    arguments.out.write_text(json.dumps({"scale": round(scale, 4), "shift": round(shift, 4)}) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
