"""Tensors to bytes and back.

``codecs`` writes a tensor for the wire, ``decode`` reads it at the other end and refuses whatever
is not exactly what the receiver expects, before memory is taken for it. Elements are little endian.
"""
