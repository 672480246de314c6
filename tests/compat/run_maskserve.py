"""maskserve's side, in an interpreter that has it: `python run_maskserve.py JOB.json OUTPUT.pickle`."""

from __future__ import annotations

import json
import pickle
import sys
from pathlib import Path

from cases import input_kinds, website
from recording import outcome

from maskserve import create_pipeline
from maskserve_tools import convert, serve


def main():
    """Run the job: convert the models, serve them, and ask for the same as PaddleX is asked for."""
    job = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    repository = Path(job["home"]) / "model_repository"
    for model, folder in job["models"].items():
        if not (repository / model).exists():
            convert(folder, repository=repository, name=model)
    found = {}
    with serve(repository, ready_timeout=600) as server:
        for generation, url in (("3.0b2", server.http_url), ("3.x", server.grpc_url)):
            found[generation] = answers(job, generation, url)
    Path(sys.argv[2]).write_bytes(pickle.dumps(found))


def answers(job, generation, url):
    """What PaddleX's side records, in one generation and over one protocol."""
    photos = {}
    for model, threshold, photo, detail in job["photos"]:
        with create_pipeline(model, url=url, generation=generation, threshold=threshold) as pipeline:
            less = "files" if detail == "all" else detail
            photos[model, threshold, photo] = outcome(pipeline.predict, lambda photo=photo: photo, less)
    model, threshold = job["inputs"]
    made = create_pipeline(model, url=url, generation=generation, threshold=threshold)
    with made as pipeline, website(Path(job["material"])) as site:
        kinds = input_kinds(Path(job["material"]), site)
        inputs = {name: outcome(pipeline.predict, source) for name, source in kinds.items()}
    return {"photos": photos, "inputs": inputs}


if __name__ == "__main__":
    main()
