"""R-CNN programs: split into subgraphs that Paddle2ONNX converts, and joined again with standard ONNX operators."""
