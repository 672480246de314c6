"""Passes over an ONNX model: each finds one pattern and puts a cheaper one in its place."""
