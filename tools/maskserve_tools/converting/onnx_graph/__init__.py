"""ONNX models as nodes and constants: written one after another, read, and taken apart."""
