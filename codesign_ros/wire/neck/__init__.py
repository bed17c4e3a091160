"""Codes of a learned bottleneck (a neck) to few bytes and back.

``tables`` has what both ends agree on, all of it integers but the gains; ``payload`` writes codes
and reads them, refusing whatever the tables do not allow; ``film`` writes each frame after one that
the receiver has; ``coder`` is the entropy coder under it, in C (``rans.c``) or, where that was not
built, in Python (``plain``), to the same bytes.
"""
