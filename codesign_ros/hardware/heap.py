"""Memory that the process has freed, and that its allocator keeps."""

from __future__ import annotations

import ctypes


def give_back_freed() -> None:
    """Give freed memory back to the system, where the C library is glibc.

    glibc keeps what lies below anything still in use, and much the more in a heap for each thread:
    of engines that were made, timed and closed it kept 1.1 GB. The call takes some milliseconds for
    each hundred megabytes, and what is needed again is then fetched again: not for every frame.
    Source: malloc_trim(3).
    """
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)
