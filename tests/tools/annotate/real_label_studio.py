"""A real Label Studio and the backend: what a person would export are the masks.

It needs a Label Studio that runs, the backend beside it, and an environment with `maskserve[local,label-studio]`::

    USE_DEFAULT_BANNED_SUBNETS=false label-studio start --username me@example.org --password ... --user-token KEY
    maskserve annotate label-studio --pipeline people.maskserve
    python -m tests.tools.annotate.real_label_studio http://localhost:8080 KEY people.maskserve photos/*.jpg

For brush masks and for polygons it makes a project, uploads the images, connects the backend, retrieves predictions,
accepts them as they are, exports the annotations, and compares them with the masks of the pipeline, pixel by pixel.
"""

from __future__ import annotations

import io
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import requests

from maskserve import create_pipeline

BACKEND = "http://localhost:9090"
CONFIG = '<View><Image name="image" value="$image"/><{tag} name="tag" toName="image">{labels}</{tag}></View>'


class Studio:
    """Label Studio's API."""

    def __init__(self, url: str, key: str) -> None:
        self.url, self._headers = url, {"Authorization": f"Token {key}"}

    def __call__(self, method: str, path: str, **arguments: Any) -> Any:
        """Return the JSON, or the bytes, of an answer."""
        answer = requests.request(method, f"{self.url}/api/{path}", headers=self._headers, timeout=120, **arguments)
        assert answer.ok, f"{answer.status_code} {answer.text[:500]}"
        return answer.json() if "json" in answer.headers.get("Content-Type", "") else answer.content


def annotated_project(studio: Studio, config: str, images: list[Path]) -> int:
    """Return a project whose images have the backend's predictions as annotations."""
    project: int = studio("POST", "projects", json={"title": "maskserve", "label_config": config})["id"]
    for image in images:
        studio("POST", f"projects/{project}/import", files={"file": (image.name, image.read_bytes())})
    backend = studio("POST", "ml", json={"project": project, "url": BACKEND, "title": "maskserve"})
    assert backend["state"] == "CO", backend
    everything = {"selectedItems": {"all": True, "excluded": []}, "ordering": []}
    studio("POST", f"dm/actions?id=retrieve_tasks_predictions&project={project}", json=everything)
    for task in studio("GET", f"tasks?project={project}&fields=all")["tasks"]:
        (prediction,) = studio("GET", f"tasks/{task['id']}")["predictions"]
        studio("POST", f"tasks/{task['id']}/annotations", json={"result": prediction["result"]})
    return project


def exported_brushes(studio: Studio, project: int) -> Iterator[npt.NDArray[np.bool_]]:
    """Yield the masks that Label Studio's own converter writes, by task and number."""
    archive = zipfile.ZipFile(io.BytesIO(studio("GET", f"projects/{project}/export?exportType=BRUSH_TO_NUMPY")))
    names = [name for name in archive.namelist() if name.endswith(".npy")]
    for name in sorted(names, key=lambda name: (int(name.split("-")[1]), int(name[:-4].rsplit("-", 1)[1]))):
        yield np.load(io.BytesIO(archive.read(name))) > 0


def exported_polygons(studio: Studio, project: int) -> Iterator[npt.NDArray[np.bool_]]:
    """Yield the pixels whose centres are inside the polygons of the JSON export."""
    for task in sorted(studio("GET", f"projects/{project}/export?exportType=JSON"), key=lambda task: int(task["id"])):
        for region in task["annotations"][0]["result"]:
            size = region["original_height"], region["original_width"]
            yield inside(np.array(region["value"]["points"]) * np.array(size[::-1]) / 100, size)


def inside(corners: npt.NDArray[Any], size: tuple[int, int]) -> npt.NDArray[np.bool_]:
    """Return the pixels whose centres are inside a polygon [N, 2], by the even-odd rule."""
    x, y = np.meshgrid(np.arange(size[1]) + 0.5, np.arange(size[0]) + 0.5)
    found = np.zeros(size, bool)
    for (x0, y0), (x1, y1) in zip(corners, np.roll(corners, -1, axis=0), strict=True):
        if y0 != y1:
            found ^= (min(y0, y1) <= y) & (y < max(y0, y1)) & (x < x0 + (y - y0) * (x1 - x0) / (y1 - y0))
    return found


def main() -> int:
    """Compare, and say with how many masks."""
    url, key, model, *images = sys.argv[1:]
    studio = Studio(url, key)
    with create_pipeline(model) as pipeline:
        labels = "".join(f'<Label value="{label}"/>' for label in pipeline.labels)
        results = list(pipeline.predict(images))
    wanted = [mask.decode().astype(bool) for result in results for mask in result.instances.masks]
    for tag, exported in (("BrushLabels", exported_brushes), ("PolygonLabels", exported_polygons)):
        project = annotated_project(studio, CONFIG.format(tag=tag, labels=labels), [Path(image) for image in images])
        found = list(exported(studio, project))
        equal = [np.array_equal(one, other) for one, other in zip(found, wanted, strict=True)]
        print(f"{tag}: {sum(equal)} of {len(wanted)} masks of {len(images)} images are equal")
        assert all(equal)
        assert equal, "nothing was found: choose other images"
    return 0


if __name__ == "__main__":
    sys.exit(main())
