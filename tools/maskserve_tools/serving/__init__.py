"""The embedded server: the tritonserver of the `nvidia-pytriton` wheel, run on a model repository."""

from maskserve_tools.serving.server import Server, serve

__all__ = ["Server", "serve"]
