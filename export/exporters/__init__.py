"""A checkpoint to an ONNX graph, by the first of three exporters that this environment has."""
