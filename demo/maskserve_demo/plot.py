"""The loss plot of a training run."""

from __future__ import annotations

import csv
from pathlib import Path

import matplotlib
import numpy as np

matplotlib.use("Agg")
from matplotlib import pyplot

SMOOTHING = 40  # steps averaged for the drawn line


def plot_losses(log: Path, image: Path) -> None:
    """Draw every column of the CSV `log` (first column: step) into the PNG `image`."""
    with log.open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    if len(rows) < 2:
        return
    steps = np.array([int(row["step"]) for row in rows])
    figure, axes = pyplot.subplots(figsize=(8, 5))
    width = min(SMOOTHING, len(rows))
    for name in (name for name in rows[0] if name not in ("step", "rate")):
        values = np.array([float(row[name]) for row in rows])
        smooth = np.convolve(values, np.ones(width) / width, mode="valid")
        (line,) = axes.plot(steps[width - 1 :], smooth, label=name)
        axes.plot(steps, values, color=line.get_color(), alpha=0.15, linewidth=0.5)
    axes.set(xlabel="step", ylabel=f"loss (mean over {width} steps)", yscale="log")
    axes.grid(alpha=0.3)
    axes.legend()
    figure.tight_layout()
    figure.savefig(image, dpi=100)
    pyplot.close(figure)
