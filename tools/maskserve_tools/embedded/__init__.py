"""The embedded server: the tritonserver of the `nvidia-pytriton` wheel, run on a model repository."""

from maskserve_tools.embedded.reloading import Reloaded
from maskserve_tools.embedded.server import Server, serve
from maskserve_tools.embedded.survey import BrokenEntry

__all__ = ["BrokenEntry", "Reloaded", "Server", "serve"]
