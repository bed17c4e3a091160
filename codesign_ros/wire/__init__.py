"""Tensors to bytes and back.

``tensor`` has one as it is on the wire, ``codecs`` writes it, ``decode`` reads it at the other end
and refuses whatever is not exactly what the receiver expects, before memory is taken for it.
Elements are little endian.
"""
