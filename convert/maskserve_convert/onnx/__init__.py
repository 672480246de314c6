"""Read, rewrite and write ONNX models."""
