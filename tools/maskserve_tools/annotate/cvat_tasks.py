"""CVAT tasks, annotated over CVAT's own library."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from maskserve.errors import MaskserveError, ServerUnavailable, ToolError
from maskserve_tools.annotate.cvat import cvat_library

if TYPE_CHECKING:
    from maskserve_tools.annotate.cvat import CvatFunction

_HINTS = {401: ": is the token or the password right?", 403: ": you may not do this", 404: ": there is none"}


@contextmanager
def connect(server: str, token: str | None, credentials: tuple[str, str] | None) -> Iterator[Any]:
    """Yield a client of a CVAT server.

    Raises:
        ToolError: CVAT's library is missing, or the server does not let us in.
        ServerUnavailable: nothing answers there.
    """
    core = cvat_library("core.client")
    with _explained(server), core.make_client(server, credentials=credentials, access_token=token) as client:
        yield client


def annotate_tasks(
    client: Any, tasks: Sequence[int], function: CvatFunction, *, clear_existing: bool, allow_unmatched_labels: bool
) -> Iterator[tuple[int, int]]:
    """Segment the images of tasks; yield each task with the number of shapes that the model found.

    Raises:
        ToolError: CVAT refuses, or a task does not fit the model.
    """
    automatic = cvat_library("auto_annotation")
    for task in tasks:
        counted = _Counted(function)
        with _explained(f"task {task}"):
            automatic.annotate_task(
                client,
                task,
                counted,
                clear_existing=clear_existing,
                allow_unmatched_labels=allow_unmatched_labels,
            )
        yield task, counted.count


class _Counted:
    """A function whose shapes are counted, those of labels that a task has not with them."""

    def __init__(self, function: CvatFunction) -> None:
        self._function = function
        self.spec = function.spec
        self.count = 0

    def detect(self, context: Any, image: Any) -> list[Any]:
        """Return what the function returns."""
        found = self._function.detect(context, image)
        self.count += len(found)
        return found


@contextmanager
def _explained(what: str) -> Iterator[None]:
    """Turn errors of CVAT's library into ours."""
    exceptions, core = cvat_library("exceptions"), cvat_library("core.exceptions")
    automatic, common = cvat_library("auto_annotation"), cvat_library("datasets")
    from urllib3.exceptions import HTTPError

    try:
        yield
    except exceptions.ApiException as error:
        status, reason = getattr(error, "status", None), getattr(error, "reason", None)
        hint = _HINTS.get(status or 0, "")
        raise ToolError(f"CVAT refuses {what} with {status} {reason}{hint}") from None
    except automatic.BadFunctionError as error:
        hint = "; --unmatched-labels leaves such labels out" if "is not in dataset" in str(error) else ""
        raise ToolError(f"{what} and the model do not fit together: {error}{hint}") from None
    except (core.CvatSdkException, common.UnsupportedDatasetError) as error:
        raise ToolError(f"{what}: {error}") from None
    except (HTTPError, OSError) as error:
        raise ServerUnavailable(f"{what}: CVAT does not answer: {error}") from None
    except MaskserveError:
        raise
    except Exception as error:  # whatever its library raises about an answer that it does not know
        raise ToolError(f"{what}: CVAT's library failed: {type(error).__name__}: {error}") from None
