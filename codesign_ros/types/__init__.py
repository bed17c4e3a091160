"""The words that the whole package speaks: forms, tensors, devices, links, plans, boxes, errors."""
