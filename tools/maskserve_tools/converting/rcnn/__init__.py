"""R-CNN programs: split into the parts that Paddle2ONNX converts, and joined again with standard ONNX operators."""
