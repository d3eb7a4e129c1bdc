"""A checkpoint to an ONNX graph."""
