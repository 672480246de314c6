"""PaddleX's side, in an interpreter that has it: `python run_paddlex.py JOB.json OUTPUT.pickle`."""

from __future__ import annotations

import functools
import json
import pickle
import shutil
import sys
from pathlib import Path
from typing import Any


def main():
    """Run the job: ask for every photo, then for every kind of input."""
    job = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    if job["generation"] == "3.0b2":
        from chat_packages import stand_in

        stand_in()
    from cases import input_kinds, website
    from recording import outcome

    found: dict[str, Any] = {"photos": {}, "inputs": {}}
    for model, threshold, photo, detail in job["photos"]:
        predict = opened(job["generation"], job["home"], job["models"][model], threshold)
        found["photos"][model, threshold, photo] = outcome(predict, lambda photo=photo: photo, detail)
    model, threshold = job["inputs"]
    predict = opened(job["generation"], job["home"], job["models"][model], threshold)
    with website(Path(job["material"])) as url:
        for name, source in input_kinds(Path(job["material"]), url).items():
            found["inputs"][name] = outcome(predict, source)
    Path(sys.argv[2]).write_bytes(pickle.dumps(found))


@functools.cache
def opened(generation, home, folder, threshold):
    """A function from an input to results, made from a pipeline file, as users have it."""
    from paddlex import create_pipeline

    file = Path(home) / f"{Path(folder).name}-{threshold}.yaml"
    write = settings_of_first if generation == "3.0b2" else settings_of_later
    file.write_text(json.dumps(write(Path(home), Path(folder), threshold)), encoding="utf-8")  # JSON is YAML
    predict = create_pipeline(str(file), device="cpu").predict
    return predict if generation == "3.0b2" else functools.partial(predict, threshold=threshold)


def settings_of_first(home, folder, threshold):
    """3.0.0b2's pipeline file; its threshold is in the model's folder only, and in a copy of it here."""
    altered = home / f"{folder.name}-{threshold}"
    shutil.rmtree(altered, ignore_errors=True)
    shutil.copytree(folder, altered)
    file = altered / "inference.yml"
    file.chmod(0o644)
    file.write_text(
        file.read_text(encoding="utf-8").replace("draw_threshold: 0.5", f"draw_threshold: {threshold}"),
        encoding="utf-8",
    )
    return {"Global": {"pipeline_name": "instance_segmentation"}, "Pipeline": {"model": str(altered)}}


def settings_of_later(_home, folder, threshold):
    """The pipeline file of 3.x, which demands a threshold and does not heed it."""
    lines = (folder / "inference.yml").read_text(encoding="utf-8").splitlines()
    name = next(line.split()[1] for line in lines if line.strip().startswith("model_name:"))
    module = {"module_name": "instance_segmentation", "model_name": name, "model_dir": str(folder)}
    module |= {"batch_size": 1, "threshold": threshold}
    return {"pipeline_name": "instance_segmentation", "SubModules": {"InstanceSegmentation": module}}


if __name__ == "__main__":
    main()
