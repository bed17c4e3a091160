"""Networks as ONNX: export, pieces of one graph, and the forms that engines run."""
