"""A window of records to scores: token batches, ONNX Runtime sessions, and the Ray actors that do the same."""
