"""What `maskserve up` prints to be copied: requests that work as they stand."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Addresses:
    """Where everything is.

    Attributes:
        grpc: the server's gRPC service.
        http: its HTTP service.
        gateway: the REST service, without a path.
    """

    grpc: str
    http: str
    gateway: str


def address_lines(addresses: Addresses) -> list[str]:
    """Return a line for each of the four addresses."""
    rest = f"{addresses.gateway}/instance-segmentation"
    rows = (("gRPC", addresses.grpc), ("HTTP", addresses.http), ("REST", rest), ("page", f"{addresses.gateway}/"))
    return [f"  {name:<5} {url}" for name, url in rows]


def snippet_lines(addresses: Addresses, models: Sequence[str], default: str, image: str) -> list[str]:
    """Return a request with curl, with Python and with `maskserve predict`.

    Args:
        addresses: where everything is.
        models: all that are served.
        default: the model that the requests are for.
        image: the path of an image.
    """
    path = shlex.quote(image)
    body = '{\\"image\\": \\"$(base64 -w0 ' + path + ')\\", \\"visualize\\": false}'
    others = [f"# the others: {addresses.gateway}/models/NAME/instance-segmentation"] if len(models) > 1 else []
    return [
        "# curl",
        f'echo "{body}" | curl {addresses.gateway}/instance-segmentation -d @-',
        *others,
        "",
        "# Python",
        "from maskserve import create_pipeline",
        f"pipeline = create_pipeline({default!r}, url={addresses.grpc!r})",
        f"for res in pipeline.predict({image!r}):",
        "    res.print()",
        "",
        "# command line",
        f"maskserve predict {path} --model {default} --url {addresses.grpc} --save_path output/",
    ]


def example_image() -> str:
    """Return the path of an image that comes with the page; "photo.jpg" where there is none."""
    from importlib.util import find_spec

    spec = find_spec("maskserve_gateway")
    folder = Path(str(spec.origin)).parent / "page" / "examples" if spec is not None else Path()
    return str(next(iter(sorted(folder.glob("*.jpg"))), "photo.jpg"))
