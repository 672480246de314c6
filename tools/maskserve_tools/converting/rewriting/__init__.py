"""Cores that give the same for less: each module finds one pattern in an ONNX model and puts another in its place."""
