"""What takes seconds to import, for processes that are forked from one that has imported it."""

import warnings

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import onnx
    import onnxruntime
    import paddle
    import paddle2onnx

    import tests.convert.networks.agreement

__all__ = ["onnx", "onnxruntime", "paddle", "paddle2onnx", "tests"]
