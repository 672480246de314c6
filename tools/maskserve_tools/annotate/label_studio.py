"""An ML backend for Label Studio: its tasks in, predictions out."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from maskserve.errors import InputError, InvalidParameter, MaskserveError
from maskserve.exports import to_label_studio
from maskserve.results import Failure
from maskserve_tools.annotate.label_config import Target, read_label_config

if TYPE_CHECKING:
    from maskserve.exports.common import Parts
    from maskserve.exports.label_studio import Form
    from maskserve.pipeline import Pipeline

_INSIDE = ("/data/", "data/", "/upload/", "upload/", "/storage-data/")  # of Label Studio: addresses without a host
Fetch = Callable[[str, Any, str], Path]


@dataclass(frozen=True, slots=True)
class Options:
    """How predictions are made.

    Attributes:
        form: of the regions; None for that of the first fitting tag of the project.
        parts: of polygons, as in `to_label_studio`.
        tolerance: of polygons, in pixels.
        threshold: from 0 to 1; None for the model's own.
        version: Label Studio asks for predictions anew when this changes.
    """

    form: Form | None = None
    parts: Parts = "join"
    tolerance: float = 0.0
    threshold: float | None = None
    version: str | None = None


class Backend:
    """Segment the images of tasks.

    Args:
        pipeline: the model.
        fetch: returns the file of an image: from its address in the task's data, the task's id, and a folder for
            downloads.
        options: how.
        report: told of images that could not be segmented.
    """

    def __init__(self, pipeline: Pipeline, fetch: Fetch, options: Options, report: Callable[[str], None]) -> None:
        self._pipeline, self._fetch, self._options, self._report = pipeline, fetch, options, report

    @property
    def version(self) -> str:
        """Return what predictions are filed under."""
        return self._options.version or self._pipeline.model

    def target(self, label_config: Any) -> Target:
        """Return where regions go in a project.

        Raises:
            InvalidParameter: the labeling configuration has no place for them.
            ServerError: the model cannot be asked for its labels.
        """
        if not isinstance(label_config, str):
            raise InvalidParameter("the request has no labeling configuration")
        return read_label_config(label_config, self._pipeline.labels, self._options.form)

    def predict(self, tasks: Any, label_config: Any) -> list[list[dict[str, Any]]]:
        """Return a list of predictions for each task: one, or none where its image could not be segmented.

        Raises:
            InputError: the request makes no sense, or no image at all could be segmented.
            ServerError: the model's server is the trouble.
        """
        if not isinstance(tasks, Sequence) or isinstance(tasks, str) or not all(isinstance(t, Mapping) for t in tasks):
            raise InvalidParameter("the request has no list of tasks")
        target = self.target(label_config)
        with TemporaryDirectory(prefix="maskserve-") as folder:
            fetched = [self._file(task, target, folder) for task in tasks]
            files = [found for found in fetched if isinstance(found, Path)]
            outcomes = iter([*self._pipeline.predict(files, threshold=self._options.threshold, on_error="return")])
        predictions: list[list[dict[str, Any]]] = []
        problems = []
        for task, found in zip(tasks, fetched, strict=True):
            outcome = next(outcomes) if isinstance(found, Path) else found
            if isinstance(outcome, MaskserveError | Failure):
                problem = outcome.error if isinstance(outcome, Failure) else outcome
                problems.append(f"task {task.get('id')}: {problem.message}")
                self._report(problems[-1])
                predictions.append([])
            else:
                predictions.append([self._prediction(outcome, target)])
        if problems and len(problems) == len(tasks):
            raise InputError("; ".join(problems[:3]) + ("; ..." if len(problems) > 3 else ""))
        return predictions

    def _file(self, task: Mapping[str, Any], target: Target, folder: str) -> Path | InputError:
        data = task.get("data")
        address = data.get(target.key) if isinstance(data, Mapping) else None
        if not isinstance(address, str) or not address:
            return InputError(f"it has no image under {target.key!r} in its data")
        try:
            return self._fetch(address, task.get("id"), folder)
        except Exception as error:  # of the network, of the file system, of Label Studio's own kinds
            return InputError(f"the image {address} cannot be fetched: {error}")

    def _prediction(self, outcome: Any, target: Target) -> dict[str, Any]:
        return to_label_studio(
            outcome,
            form=target.form,
            from_name=target.from_name,
            to_name=target.to_name,
            parts=self._options.parts,
            tolerance=self._options.tolerance,
            labels=target.labels,
            model_version=self.version,
        )


@dataclass(slots=True)
class Fetcher:
    """Fetch images as Label Studio's own library does: uploads, local files and cloud storages through Label Studio.

    Attributes:
        hostname: Label Studio's address; None for what it says itself when a project is connected.
        key: for its API. It goes to `hostname` alone: whoever says where Label Studio is says the key, too.
    """

    hostname: str | None = None
    key: str | None = None
    _said: tuple[str | None, str | None] = (None, None)

    def introduce(self, hostname: Any, key: Any) -> None:
        """Take Label Studio's own word for where it is, unless an address was given."""
        if isinstance(hostname, str) and hostname and isinstance(key, str):
            self._said = (hostname, key)

    @property
    def server(self) -> tuple[str | None, str | None]:
        """Return the address of Label Studio, and the key for it."""
        return (self.hostname, self.key) if self.hostname else self._said

    def __call__(self, address: str, task_id: Any, folder: str) -> Path:
        """Return the file; errors are those of requests, of the file system, and of Label Studio's library."""
        if "://" not in address and not address.startswith(_INSIDE):
            raise ValueError("this is no address that Label Studio has")
        from label_studio_sdk._extensions.label_studio_tools.core.utils.io import get_local_path

        hostname, key = self.server
        path = get_local_path(address, cache_dir=folder, hostname=hostname, access_token=key, task_id=task_id)
        return Path(path)
