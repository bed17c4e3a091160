"""The NVIDIA driver called directly, for what PyCUDA has not: its start told apart, CUDA graphs."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from functools import cache

from codesign_ros.types.errors import CodesignError

_NO_DEVICE = 100
# Stub library, insufficient driver, system driver mismatch, no forward compatibility.
_WRONG_DRIVER = (34, 35, 803, 804)
# Calls that could disturb a capture, such as an allocation, are refused on the capturing thread
# only. Other lanes and engines run and allocate on theirs meanwhile, which the global mode would
# forbid; the relaxed one would let a piece pass that allocates while it runs, and a replay would
# then use memory that is gone.
_THREAD_LOCAL = 1


@cache
def load_driver() -> ctypes.CDLL:
    """Return the driver's library, started.

    Raises:
        CodesignError: there is no driver, no GPU, or they do not fit together.
    """
    try:
        driver = ctypes.CDLL("libcuda.so.1")
    except OSError as error:
        raise CodesignError(
            "no NVIDIA driver: libcuda.so.1 cannot be loaded; install the driver, and start a "
            "container with --gpus all (on a Jetson --runtime nvidia)"
        ) from error
    code = driver.cuInit(0)
    if code == _NO_DEVICE:
        raise CodesignError(
            "the NVIDIA driver finds no GPU; see nvidia-smi and CUDA_VISIBLE_DEVICES"
        )
    if code in _WRONG_DRIVER:
        raise CodesignError(
            f"the NVIDIA driver does not fit this machine or its CUDA ({_words(driver, code)}); "
            "update the driver and restart"
        )
    if code != 0:
        raise CodesignError(f"CUDA does not start: {_words(driver, code)}; see nvidia-smi")
    return driver


def check(code: int, what: str) -> None:
    """Raise for a driver's code that is not 0.

    Args:
        code: what a function of the driver returned.
        what: what was tried, for the message.

    Raises:
        CodesignError: it failed.
    """
    if code != 0:
        raise CodesignError(f"the GPU fails: {what}: {_words(load_driver(), code)}")


class CudaGraph:
    """What a stream did once, to be done again by one call. The context has to be current.

    Args:
        stream_handle: the stream.
        work: puts the work on the stream; nothing of it is done yet.

    Raises:
        CodesignError: the work cannot be recorded. The stream is then as before.
    """

    def __init__(self, stream_handle: int, work: Callable[[], None]) -> None:
        self._driver = load_driver()
        self._stream = ctypes.c_void_p(stream_handle)
        self._executable = ctypes.c_void_p()
        begin = getattr(self._driver, "cuStreamBeginCapture_v2", None)
        # In drivers since CUDA 11.4 (JetPack 5), and with the same arguments in 12 and 13, which
        # cannot be said of cuGraphInstantiate.
        instantiate = getattr(self._driver, "cuGraphInstantiateWithFlags", None)
        if begin is None or instantiate is None:
            raise CodesignError("CUDA graphs need a driver for CUDA 11.4 or later")
        check(begin(self._stream, _THREAD_LOCAL), "begin a capture")
        graph = ctypes.c_void_p()
        try:
            try:
                work()
            finally:
                # In any case, or the stream would record for ever.
                code = self._driver.cuStreamEndCapture(self._stream, ctypes.byref(graph))
            check(code, "end a capture")
            check(
                instantiate(ctypes.byref(self._executable), graph, ctypes.c_ulonglong(0)),
                "instantiate a CUDA graph",
            )
        finally:
            if graph:
                self._driver.cuGraphDestroy(graph)

    def launch(self) -> None:
        """Do the work once more, on the stream; returns before it is done.

        Raises:
            CodesignError: the GPU fails.
        """
        check(self._driver.cuGraphLaunch(self._executable, self._stream), "launch a CUDA graph")

    def close(self) -> None:
        """Free the graph. A second call does nothing."""
        executable, self._executable = self._executable, ctypes.c_void_p()
        if executable:
            self._driver.cuGraphExecDestroy(executable)


def _words(driver: ctypes.CDLL, code: int) -> str:
    text = ctypes.c_char_p()
    driver.cuGetErrorString(code, ctypes.byref(text))
    return f"{text.value.decode() if text.value else 'unknown error'} (CUDA error {code})"
