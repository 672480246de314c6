"""Run PaddleX's whole pipelines beside maskserve's, on real servers, and say in what they differ.

    python tests/compat/compare_with_paddlex.py

Run by hand, not by pytest. It needs Python 3.10 or 3.11, a package index, and the shared folder of tests/conftest.py
(MASKSERVE_SHARED), and makes the environments itself: PaddleX 3.7.2, PaddleX 3.0.0b2 and maskserve, 6 GB that are kept
in ~/.cache/maskserve/compat. Both sides run in processes of their own, on tiny models of the five families:

- every photo at several thresholds: the results field by field;
- PaddleX's detections put through maskserve's result: prints, file names and JSON byte by byte, pictures by pixel;
- every kind of input: results, paths, saved files, errors.

Each cell of the table says "equal", or which row of docs/compatibility.md lists the difference, or UNEXPECTED; the exit
status is 1 when anything is. maskserve is asked over HTTP in the first generation and over gRPC in the later one.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

from environments import MASKSERVE, PADDLEX, ROOT, environment, variables

HERE = Path(__file__).parent
FAMILIES = ("Mask-RT-DETR", "PP-YOLOE_seg", "SOLOv2", "MaskRCNN", "Cascade-MaskRCNN")
MODELS = tuple(f"tiny-{family}-320" for family in FAMILIES)
THRESHOLDS = {0.5: "all", 0.3: "fields"}  # and how much of the results is recorded
LOW = 0.2  # at which the random weights of the Cascade model find something


def main() -> int:
    """Make the environments, run the sides, print the table."""
    arguments = parse()
    cache = arguments.cache.expanduser().resolve()
    python = environment(cache / "maskserve", MASKSERVE)
    job = make_job(cache, arguments.shared.resolve(), python)
    ours = run("run_maskserve.py", python, cache / "job-maskserve", job)
    theirs = []
    for generation in arguments.generation or PADDLEX:
        interpreter = environment(cache / f"paddlex-{generation}", PADDLEX[generation])
        found = run("run_paddlex.py", interpreter, cache / f"job-{generation}", {**job, "generation": generation})
        theirs.append(f"{generation}={found}")
    return subprocess.run([python, HERE / "judge.py", ours, *theirs], check=False).returncode


def parse() -> argparse.Namespace:
    """The arguments."""
    summary, _, details = (__doc__ or "").partition("\n")
    parser = argparse.ArgumentParser(
        description=summary, epilog=details, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    shared = Path(os.environ.get("MASKSERVE_SHARED", ROOT.parent / "shared"))
    parser.add_argument("--shared", type=Path, default=shared, help="folder with models/ and data/photos/")
    parser.add_argument(
        "--cache", type=Path, default=Path("~/.cache/maskserve/compat"), help="where everything is made"
    )
    parser.add_argument("--generation", action="append", choices=sorted(PADDLEX), help="only this one; both by default")
    return parser.parse_args()


def make_job(cache: Path, shared: Path, python: Path) -> dict[str, object]:
    """What both sides are to do; unpacks the models and makes the pictures."""
    models = {name: str(cache / "models" / name) for name in MODELS}
    missing = [name for name, folder in models.items() if not Path(folder).exists()]
    if missing:
        make: list[str | Path] = [
            python,
            "-m",
            "tests.models.make_models",
            cache / "models",
            *missing,
            "--recipes",
            shared / "models",
        ]
        subprocess.run(make, check=True, stdout=sys.stderr, cwd=HERE.parent.parent)
    material = cache / "material"
    shutil.rmtree(material, ignore_errors=True)
    photos = sorted((shared / "data" / "photos").glob("*.jpg"))
    subprocess.run([python, HERE / "cases.py", material, *photos], check=True)
    asked = sorted(material.glob("photos/*"))
    return {
        "models": models,
        "photos": [
            *([m, t, str(p), detail] for m in MODELS for t, detail in THRESHOLDS.items() for p in asked),
            *([MODELS[-1], LOW, str(photo), "fields"] for photo in asked),
        ],
        "inputs": [MODELS[0], 0.5],
        "material": str(material / "kinds"),
    }


def run(script: str, python: Path, home: Path, job: dict[str, object]) -> Path:
    """One side's recording, made in a process of its own with a home of its own."""
    home.mkdir(exist_ok=True)
    (home / "job.json").write_text(json.dumps({**job, "home": str(home)}))
    output = home / "outcomes.pickle"
    print(f"running {script} with {python}", file=sys.stderr, flush=True)
    with (home / "log.txt").open("w") as log:
        command: list[str | Path] = [python, "-W", "ignore", HERE / script, home / "job.json", output]
        if subprocess.run(command, check=False, env=variables(home), stdout=log, stderr=log).returncode:
            sys.exit(f"{script} failed; its log is {home / 'log.txt'}")
    return output


if __name__ == "__main__":
    sys.exit(main())
