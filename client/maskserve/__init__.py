"""Call instance segmentation models on a Triton server as if they were local.

from maskserve import create_pipeline

pipeline = create_pipeline(pipeline="Mask-RT-DETR-S", url="grpc://localhost:8001")
for res in pipeline.predict("photo.jpg"):
    res.print()
    res.save_to_img("./output/")
    res.save_to_json("./output/")
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    __version__: str
    from maskserve._create import create_pipeline as create_pipeline
    from maskserve.async_pipeline import AsyncPipeline as AsyncPipeline
    from maskserve.errors import ImageTooLarge as ImageTooLarge
    from maskserve.errors import InferenceFailed as InferenceFailed
    from maskserve.errors import InputError as InputError
    from maskserve.errors import InvalidImage as InvalidImage
    from maskserve.errors import InvalidParameter as InvalidParameter
    from maskserve.errors import MaskserveError as MaskserveError
    from maskserve.errors import ModelNotFound as ModelNotFound
    from maskserve.errors import ModelNotReady as ModelNotReady
    from maskserve.errors import RequestTimeout as RequestTimeout
    from maskserve.errors import ServerError as ServerError
    from maskserve.errors import ServerUnavailable as ServerUnavailable
    from maskserve.errors import ToolError as ToolError
    from maskserve.errors import UnsupportedFormat as UnsupportedFormat
    from maskserve.instances import Instance as Instance
    from maskserve.instances import Instances as Instances
    from maskserve.masks import Mask as Mask
    from maskserve.pipeline import Pipeline as Pipeline
    from maskserve.results import Failure as Failure
    from maskserve.results import InstanceSegResult as InstanceSegResult

# Resolved when they are asked for, so that `import maskserve` costs nothing.
_HOMES = {
    "AsyncPipeline": "async_pipeline",
    "Failure": "results",
    "ImageTooLarge": "errors",
    "InferenceFailed": "errors",
    "InputError": "errors",
    "Instance": "instances",
    "InstanceSegResult": "results",
    "Instances": "instances",
    "InvalidImage": "errors",
    "InvalidParameter": "errors",
    "Mask": "masks",
    "MaskserveError": "errors",
    "ModelNotFound": "errors",
    "ModelNotReady": "errors",
    "Pipeline": "pipeline",
    "RequestTimeout": "errors",
    "ServerError": "errors",
    "ServerUnavailable": "errors",
    "ToolError": "errors",
    "UnsupportedFormat": "errors",
    "create_pipeline": "_create",
}
__all__ = sorted(_HOMES)  # noqa: PLE0605  # a list of strings, though not a literal


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib.metadata import version

        return version("maskserve")
    if name not in _HOMES:
        raise AttributeError(f"module 'maskserve' has no attribute {name!r}")
    value = getattr(import_module(f"maskserve.{_HOMES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
