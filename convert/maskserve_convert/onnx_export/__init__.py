"""The core as an ONNX file for those who run it themselves, with a program that turns its outputs into masks."""
