"""Train the demo model: `python -m maskserve_demo.train --pennfudan DIR --coco128 DIR --out DIR`.

Seeded, and resumable: run the same command again and it goes on from the last checkpoint in `--out`.
"""

from __future__ import annotations

import argparse
import copy
import csv
import math
import time
from dataclasses import dataclass
from pathlib import Path

import torch
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from torch import Tensor

from .batches import Batch, Views, loader
from .losses import Losses, batch_losses
from .photos import held_out, read_coco128, read_pennfudan
from .plot import plot_losses
from .pretrained import load_backbone
from .twin import PeopleNet

WARMUP = 150  # steps
AVERAGE = 0.998  # decay of the weight average
CLIP = 10.0  # largest gradient norm
BACKBONE_SHARE = 0.25  # of the learning rate
WEIGHT_DECAY = 0.03
SAVE_EVERY = 100  # steps


@dataclass
class Plan:
    """What the command line asked for."""

    steps: int
    rate: float
    seed: int
    out: Path

    def rate_at(self, step: int) -> float:
        """Linear warm-up, then half a cosine down to a hundredth."""
        warm = min(1.0, (step + 1) / WARMUP)
        return self.rate * warm * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * step / self.steps)))


def optimiser_of(network: PeopleNet) -> torch.optim.AdamW:
    """AdamW with a smaller rate for the backbone and no decay of biases and normalisation."""
    groups: dict[tuple[bool, bool], list[Tensor]] = {}
    for name, parameter in network.named_parameters():
        if parameter.requires_grad:
            groups.setdefault((name.startswith("backbone."), parameter.ndim > 1), []).append(parameter)
    return torch.optim.AdamW(
        [
            {
                "params": parameters,
                "share": BACKBONE_SHARE if backbone else 1.0,
                "weight_decay": WEIGHT_DECAY if decays else 0.0,
            }
            for (backbone, decays), parameters in groups.items()
        ],
        lr=1e-3,
    )


class Trainer:
    """Network, its average, optimiser and where they stand."""

    def __init__(self, plan: Plan) -> None:
        torch.manual_seed(plan.seed)
        self.plan = plan
        self.network = PeopleNet()
        load_backbone(self.network.backbone)
        self.network.fix_backbone()
        self.network.train()
        self.average = copy.deepcopy(self.network).requires_grad_(False)
        self.optimiser = optimiser_of(self.network)
        self.generator = torch.Generator().manual_seed(plan.seed)
        self.step = 0
        self.seconds = 0.0
        self.path = plan.out / "checkpoint.pt"
        if self.path.exists():
            self._resume()

    def _resume(self) -> None:
        state = torch.load(self.path, map_location="cpu", weights_only=True)
        self.network.load_state_dict(state["network"])
        self.average.load_state_dict(state["average"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.generator.set_state(state["generator"])
        self.step, self.seconds = state["step"], state["seconds"]

    def save(self) -> None:
        """Write the checkpoint; whole or not at all."""
        state = {
            "network": self.network.state_dict(),
            "average": self.average.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "generator": self.generator.get_state(),
            "step": self.step,
            "seconds": self.seconds,
        }
        part = self.path.with_suffix(".part")
        torch.save(state, part)
        part.replace(self.path)

    def _update_average(self) -> None:
        decay = min(AVERAGE, (1 + self.step) / (10 + self.step))
        for mean, value in zip(self.average.state_dict().values(), self.network.state_dict().values(), strict=True):
            if mean.dtype.is_floating_point:
                mean.lerp_(value, 1 - decay)
            else:
                mean.copy_(value)

    def learn(self, batch: Batch) -> Losses:
        """Return one step."""
        rate = self.plan.rate_at(self.step)
        for group in self.optimiser.param_groups:
            group["lr"] = rate * group["share"]
        images = batch.images.contiguous(memory_format=torch.channels_last)
        with torch.autocast("cpu", torch.bfloat16):
            outputs = self.network(images)
        losses = batch_losses(outputs, batch, self.generator)
        self.optimiser.zero_grad()
        losses.total.backward()
        norm = torch.nn.utils.clip_grad_norm_(self.network.parameters(), CLIP)
        if torch.isfinite(norm):
            self.optimiser.step()
        self.step += 1
        self._update_average()
        return losses


def _open_log(path: Path, first: int) -> list[dict[str, str]]:
    """Rows already logged, without those that a resumed run will write again."""
    if not path.exists():
        return []
    with path.open(encoding="utf-8") as file:
        return [row for row in csv.DictReader(file) if int(row["step"]) < first]


def run(trainer: Trainer, views: Views) -> None:
    """Train to the plan's last step; log, checkpoint and plot on the way."""
    plan = trainer.plan
    log_path = plan.out / "losses.csv"
    logged = _open_log(log_path, trainer.step)
    columns = (BarColumn(), MofNCompleteColumn(), TextColumn("{task.description}"))
    with (
        log_path.open("w", newline="", encoding="utf-8") as file,
        Progress(*columns, TimeElapsedColumn(), TimeRemainingColumn()) as progress,
    ):
        writer = csv.DictWriter(file, ["step", "rate", "score", "box", "mask", "dice"])
        writer.writeheader()
        writer.writerows(logged)
        task = progress.add_task("training", total=plan.steps, completed=trainer.step)
        before = time.monotonic()
        for batch in loader(views, trainer.step):
            values = trainer.learn(batch).values()
            writer.writerow({"step": trainer.step - 1, "rate": f"{plan.rate_at(trainer.step - 1):.2e}"} | values)
            file.flush()
            now = time.monotonic()
            trainer.seconds, before = trainer.seconds + now - before, now
            progress.update(task, advance=1, description=" ".join(f"{k} {v:.3f}" for k, v in values.items()))
            if trainer.step % SAVE_EVERY == 0 or trainer.step == plan.steps:
                trainer.save()
                plot_losses(log_path, plan.out / "losses.png")


def main() -> None:
    """Parse the command line and train."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pennfudan", type=Path, required=True, help="folder with images/ and masks/")
    parser.add_argument("--coco128", type=Path, required=True, help="folder with photos and labels/")
    parser.add_argument("--out", type=Path, required=True, help="folder for checkpoint, log and plot")
    parser.add_argument("--steps", type=int, default=1800)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--rate", type=float, default=1.5e-3, help="peak learning rate")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=2)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    arguments.out.mkdir(parents=True, exist_ok=True)
    streets = [p for p in read_pennfudan(arguments.pennfudan) if p.name not in held_out("pennfudan")]
    others = [p for p in read_coco128(arguments.coco128) if p.name not in held_out("coco128")]
    trainer = Trainer(Plan(arguments.steps, arguments.rate, arguments.seed, arguments.out))
    trainer.network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    run(trainer, Views(streets, others, arguments.seed, arguments.steps, arguments.batch))


if __name__ == "__main__":
    main()
