"""What all others speak of: forms, tensors, codecs, devices, links, plans, boxes, errors."""
