"""What serving costs on top of the bare core: images a second at 1, 4 and 16 callers, and a lone caller's latencies.

    python -m benchmarks.served_overhead PADDLE_DIR ... [--photo FILE] [--seconds S] [--turns N]

The bare core, the stages in a loop, the layouts "single" (also with an instance for each CPU) and "ensemble" and the
REST service take turns in one run, so that a busy machine disturbs all alike. *Of the bare core* is the rate at the
best number of callers, as a share of the bare core's at its own best, the median of the turns.
"""

from __future__ import annotations

import argparse
import statistics
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.ways import (
    BARE,
    BARE_PER_CPU,
    ENSEMBLE,
    PER_CPU,
    SINGLE,
    STAGES,
    Found,
    Served,
    bare_core,
    best_ratio,
    in_turns,
    rate,
    stages,
)

from maskserve_local.cpus import thread_count
from maskserve_tools import convert
from maskserve_tools.tune.load import p95
from maskserve_tools.tune.tuning import cpu_name

_CLEAR = 0.02  # a difference below that decides nothing
_GOAL, _CALM = 0.97, 1.3


def table(found: Found, callers: list[int]) -> str:
    """Return the rows of one model, in Markdown."""
    ways = list(dict.fromkeys(way for way, _ in found))
    heads = [f"{count} caller{'s' * (count > 1)}" for count in callers]
    lines = [
        "| | " + " | ".join(heads) + " | of the bare core | lone caller: median ms | p95 ms | p95 / median |",
        "|---|" + "---:|" * (len(callers) + 4),
    ]
    for way in ways:
        latencies = [latency for turn in found[way, 1] for latency in turn.latencies]
        middle, high = statistics.median(latencies), p95(latencies)
        rates = " | ".join(f"{rate(found, way, count):.2f}" for count in callers)
        share = best_ratio(found, way, BARE, callers)
        lines.append(f"| {way} | {rates} | {share:.0%} | {middle * 1e3:.0f} | {high * 1e3:.0f} | {high / middle:.2f} |")
    return "\n".join(lines)


def verdict(found: Found, callers: list[int]) -> str:
    """Return which layout is the better default by these figures, and whether the goals are met."""
    single, ensemble = (best_ratio(found, way, BARE, callers) for way in (SINGLE, ENSEMBLE))
    lone = {way: statistics.median(x for turn in found[way, 1] for x in turn.latencies) for way in (SINGLE, ENSEMBLE)}
    if abs(single - ensemble) <= _CLEAR * max(single, ensemble):
        quicker = min(lone, key=lambda way: lone[way])
        layout = f"the layouts answer equally many images; {quicker} is quicker for a lone caller"
    else:
        layout = f"{SINGLE if single > ensemble else ENSEMBLE} answers more images a second"
    most = max(single, ensemble, best_ratio(found, PER_CPU, BARE, callers) if (PER_CPU, 1) in found else 0)
    met = "met" if most >= _GOAL else "not met"
    latencies = [x for turn in found[SINGLE, 1] for x in turn.latencies]
    calm = "met" if p95(latencies) <= _CALM * statistics.median(latencies) else "not met"
    return f"{layout}. At least 97 % of the bare core: {met}. p95 of a lone caller within 1.3 of the median: {calm}."


def measure(folder: Path, images: list[bytes], *, callers: list[int], seconds: float, turns: int) -> Found:
    """Convert a model in both layouts, and measure all ways."""
    with TemporaryDirectory() as scratch:
        repository = Path(scratch) / "models"
        single = convert(folder, repository=repository, name="single", layout="single").name
        ensemble = convert(folder, repository=repository, name="ensemble", layout="ensemble").name
        entry, cpus = repository / single, thread_count()
        with Served(repository, single, ensemble, single, with_rest=True) as served:
            cores = {
                BARE: bare_core(entry, images[0]),
                BARE_PER_CPU: bare_core(entry, images[0], threads=1, streams=cpus),
            }
            asks = {**cores, STAGES: stages(entry), **served}
            return in_turns(asks, images, callers=callers, seconds=seconds, turns=turns)


def main() -> None:
    """Print a table for each model."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", type=Path, nargs="+", metavar="PADDLE_DIR")
    parser.add_argument("--photo", type=Path, default=Path("demo/photos/astronaut.jpg"))
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--callers", type=int, nargs="+", default=[1, 4, 16])
    args = parser.parse_args()
    callers = sorted({1, *args.callers})
    for folder in args.folders:
        found = measure(folder, [args.photo.read_bytes()], callers=callers, seconds=args.seconds, turns=args.turns)
        print(f"**{folder.name}**, {args.photo.name}, {cpu_name()}\n\n{table(found, callers)}\n")
        print(f"{verdict(found, callers)}\n", flush=True)


if __name__ == "__main__":
    main()
