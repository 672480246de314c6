"""Transports: how a client reaches a server, over gRPC or HTTP.

`open_transport` gives the transport to a URL. It answers what the server is asked: `status`, `models` (the repository
index), `model_config`, and `infer` for one image, whose answer `read_answer` checks and reads. A pipeline does this for
every image; use a transport where you want to see the answers as they are::

    from contextlib import closing
    from maskserve.transport import ImageRequest, open_transport, read_answer

    with closing(open_transport("grpc://localhost:8001")) as transport:
        print(transport.status(), [model.name for model in transport.models()])
        answer = transport.infer("people", ImageRequest(open("photo.jpg", "rb").read()))
        print(read_answer(answer, labels=()).scores)

The names below are the public face. The modules are public for the other packages of maskserve; they may change.
"""

from maskserve.transport.base import ServedModel, ServerStatus, Transport
from maskserve.transport.cancellation import Cancellation
from maskserve.transport.connect import open_transport
from maskserve.transport.endpoint import Endpoint, parse_url
from maskserve.transport.wire import ImageRequest, Tensor, read_answer

__all__ = [
    "Cancellation",
    "Endpoint",
    "ImageRequest",
    "ServedModel",
    "ServerStatus",
    "Tensor",
    "Transport",
    "open_transport",
    "parse_url",
    "read_answer",
]
