"""What the command line and the functions behind it let people choose from."""

from __future__ import annotations

ENGINES = ("auto", "openvino", "onnxruntime", "paddle")
LAYOUTS = ("ensemble", "single")
