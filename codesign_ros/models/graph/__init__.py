"""Any PyTorch network that can be traced, as a graph of plain data that can be cut."""
