"""Hold the two sides against each other and print the table: `python judge.py OURS.pickle 3.x=THEIRS.pickle ...`."""

from __future__ import annotations

import pickle
import sys
from pathlib import Path
from typing import Any

from agreement import compare_outcomes
from listed import row_for, unknown_rows
from replaying import replay


def main():
    """Print the table; 1 when something differs that is not listed."""
    ours = pickle.loads(Path(sys.argv[1]).read_bytes())
    table: dict[Any, Any] = {}
    unexpected = [f"listed.py names a row that does not exist: {row}" for row in unknown_rows()]
    generations = [argument.partition("=")[0] for argument in sys.argv[2:]]
    for argument in sys.argv[2:]:
        generation, _, path = argument.partition("=")
        theirs = pickle.loads(Path(path).read_bytes())
        for what, found, remark in judged(theirs, ours[generation], generation):
            cell, surprises = verdict(generation, what, found, remark)
            table.setdefault(what, {})[generation] = cell
            unexpected += surprises
    print_table(table, generations)
    for line in unexpected:
        print(f"UNEXPECTED {line}")
    return 1 if unexpected else 0


def judged(theirs, ours, generation):
    """Yield (what, its differences, remark): photos by model and threshold, replays by aspect, then every input."""
    for group, (found, distance) in photo_groups(theirs, ours).items():
        yield group, found, str(distance)
    for aspect, (found, remark) in replays(theirs, generation).items():
        yield f"same detections: {aspect}", found, remark
    for name, outcome in theirs["inputs"].items():
        differences = compare_outcomes(outcome, ours["inputs"][name])
        yield f"input: {name}", differences.found, ""


def photo_groups(theirs, ours):
    """By model and threshold the differences on all photos, and the distance of what agrees."""
    groups: dict[Any, Any] = {}
    for (model, threshold, photo), outcome in theirs["photos"].items():
        differences = compare_outcomes(outcome, ours["photos"][model, threshold, photo])
        found, distance = groups.setdefault(f"{model} at {threshold}", ([], differences.distance))
        found += differences.found
        if distance is not differences.distance:
            distance.include(differences.distance)
    return groups


def replays(theirs, generation):
    """By aspect what differs when maskserve prints, saves and draws PaddleX's detections."""
    aspects: dict[Any, Any] = {}
    for (model, _, photo), outcome in theirs["photos"].items():
        for record in outcome["results"]:
            if "print" not in record:
                continue
            for aspect, same, remark in replay(record, generation):
                found, seen = aspects.setdefault(aspect, ([], []))
                seen.append(remark)
                if not same:
                    found.append((model, f"{Path(photo).name}: {remark}"))
    return {aspect: (found, f"{len(seen)} results") for aspect, (found, seen) in aspects.items()}


def verdict(generation, what, found, remark):
    """The cell for these differences, and those that are not listed."""
    rows, surprises = [], []
    for aspect, detail in found:
        row = row_for(generation, what, aspect)
        if row is None:
            surprises.append(f"{generation}, {what}: {aspect}: {detail}")
        elif row not in rows:
            rows.append(row)
    extent = f" ({remark})" if remark else ""
    if surprises:
        return "UNEXPECTED", list(dict.fromkeys(surprises))
    return (f"listed: {'; '.join(rows)}" if rows else "equal") + extent, []


def print_table(table, generations):
    """Markdown, and how many rows are of which kind."""
    print(f"| | {' | '.join(generations)} |")
    print("|---|" + "---|" * len(generations))
    for what, cells in table.items():
        print(f"| {what} | {' | '.join(cells.get(generation, '') for generation in generations)} |")
    for generation in generations:
        kinds = [cells[generation].split(":")[0].split(" ")[0] for cells in table.values() if generation in cells]
        counts = ", ".join(f"{kinds.count(kind)} {kind}" for kind in ("equal", "listed", "UNEXPECTED"))
        print(f"\n{generation}: {counts}")


if __name__ == "__main__":
    sys.exit(main())
