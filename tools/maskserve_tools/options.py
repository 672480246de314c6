"""What the command line and the functions behind it let people choose from."""

from __future__ import annotations

ENGINES = ("auto", "openvino", "onnxruntime", "paddle")
PRECISIONS = ("fp32", "bf16", "fp16")
LAYOUTS = ("ensemble", "single")
TARGETS = ("embedded", "container-cpu", "container-gpu")
