"""GPUs through PyCUDA: contexts, memory and streams that any thread may use and free.

PyCUDA keeps, for each thread, a stack of contexts of its own. An object that is freed where its
context is not on top of that stack is not freed at all unless the thread is the one that made the
context: PyCUDA prints a warning and leaks it. So everything here is made, used and freed under
``CudaContext.active``, and nothing is left to the garbage collector.

The context is the GPU's primary one, which TensorRT and torch use too, so pointers and streams are
theirs as well. It is pushed for a use and popped after it; what torch has made current on a thread
is current again afterwards.

A child that was forked has no CUDA (the driver does not survive a fork): it is told so, and frees
nothing. At the interpreter's exit, what is open is closed before PyCUDA and the driver go.
"""

from __future__ import annotations

import atexit
import contextlib
import ctypes
import os
import threading
import warnings
import weakref
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import cache
from typing import Any, Protocol

import numpy as np

from codesign_ros.engines.tensorrt.cuda_driver import check, load_driver
from codesign_ros.engines.tensorrt.target import Gpu
from codesign_ros.types.errors import CodesignError, one_line


class Closable(Protocol):
    """What has memory on a GPU."""

    def close(self) -> None:
        """Free it. A second call does nothing."""


@cache
def load_pycuda() -> Any:
    """Return ``pycuda.driver``, with the driver started.

    Raises:
        CodesignError: no driver, no GPU, no PyCUDA, or one that is not for this driver.
    """
    load_driver()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # it warns of what it then raises
            import pycuda.driver as pycuda
    except ModuleNotFoundError as error:
        raise CodesignError(
            f"PyCUDA is not installed (no module {error.name}): run 'make gpu', which builds it "
            "for the CUDA of this machine (on a Jetson that of JetPack)"
        ) from error
    except ImportError as error:
        raise CodesignError(
            f"PyCUDA was built for another CUDA than this driver's ({error}): update the driver, "
            "or run 'make gpu' to build it anew"
        ) from error
    pycuda.init()
    return pycuda


class _Primary:
    """The primary context of one GPU in this process, and who uses it."""

    def __init__(self, index: int) -> None:
        self.pycuda = load_pycuda()
        count = self.pycuda.Device.count()
        if not 0 <= index < count:
            raise CodesignError(
                f"there is no GPU {index}: this machine has {count}, counted from 0; "
                "set tensorrt.gpu"
            )
        self.index = index
        self.device = self.pycuda.Device(index)
        with _one_line(self.pycuda, f"GPU {index} cannot be used"):
            self.context = self.device.retain_primary_context()
        self.users = 1
        self.lost = ""
        self.open: weakref.WeakSet[Closable] = weakref.WeakSet()

    def release(self) -> None:
        """Let go of the context, on any thread.

        PyCUDA detaches from a context only where it is on top, and then leaves it on the driver's
        stack. So it is held once more until it is off that stack.
        """
        driver, held = load_driver(), ctypes.c_void_p()
        device = ctypes.c_int()
        check(driver.cuDeviceGet(ctypes.byref(device), self.index), "find the GPU")
        check(driver.cuDevicePrimaryCtxRetain(ctypes.byref(held), device), "hold the context")
        try:
            self.context.push()
            self.context.detach()
            check(driver.cuCtxPopCurrent_v2(ctypes.byref(held)), "pop the context")
        finally:
            driver.cuDevicePrimaryCtxRelease_v2(device)


_lock = threading.RLock()
_primaries: dict[int, _Primary] = {}
_of_the_parent: list[_Primary] = []  # kept, so that a forked child does not free them


class CudaContext:
    """A user's hold on the context of one GPU; see ``open_gpu``."""

    def __init__(self, primary: _Primary) -> None:
        self.index = primary.index
        self._primary = primary
        self._process = os.getpid()
        self._closed = False

    @contextmanager
    def active(self) -> Iterator[None]:
        """Make the context current on this thread; may be nested, on as many threads as you like.

        Raises:
            CodesignError: in place of PyCUDA's errors inside.
            RuntimeError: this is closed, or the process was forked.
        """
        if self._process != os.getpid():
            raise RuntimeError("CUDA does not survive a fork: start the process with 'spawn'")
        if self._closed:
            raise RuntimeError("the GPU is closed")
        context = self._primary.context
        with _one_line(self._primary.pycuda, f"GPU {self.index} fails"):
            context.push()
            try:
                yield
            finally:
                context.pop()

    @property
    def lost(self) -> str:
        """Why this process cannot use the GPU any more, one line; empty = it can."""
        return self._primary.lost

    def check(self, stream: Any) -> None:
        """After a failure: find out whether the GPU can still be used, see ``lost``.

        Some errors of a GPU, such as an address that is not there, are what every call returns
        from then on; others are told once.
        """
        with contextlib.suppress(Exception):
            stream.synchronize()
        try:
            with self.in_words(f"GPU {self.index} is lost to this process"):
                stream.synchronize()
        except CodesignError as error:
            self._primary.lost = str(error)

    def freeing(self) -> AbstractContextManager[object]:
        """For what frees things: a GPU that is lost takes nothing back, which is no news."""
        return contextlib.suppress(Exception) if self.lost else contextlib.nullcontext()

    def in_words(self, what: str) -> AbstractContextManager[None]:
        """Raise PyCUDA's errors inside as CodesignError; ``what`` says what was tried."""
        return _one_line(self._primary.pycuda, what)

    def gpu(self, dla_cores: int = 0) -> Gpu:
        """Describe the GPU.

        Args:
            dla_cores: DLA cores next to it, of which CUDA knows nothing but TensorRT does.
        """
        device = self._primary.device
        attributes = self._primary.pycuda.device_attribute
        return Gpu(
            device.name(),
            tuple(device.compute_capability()),
            device.total_memory(),
            dla_cores,
            bool(device.get_attribute(attributes.INTEGRATED)),
            device.get_attribute(attributes.MULTIPROCESSOR_COUNT),
        )

    def memory(self) -> tuple[int, int]:
        """Return how much memory is free and how much there is [bytes]."""
        with self.active():
            return tuple(self._primary.pycuda.mem_get_info())

    def new_stream(self) -> Any:
        """Return a new stream of PyCUDA; let go of it under ``active``, which destroys it.

        It does not wait for the default stream, so lanes do not wait for torch or each other.
        """
        # CU_STREAM_NON_BLOCKING; PyCUDA has no name for it.
        return self._primary.pycuda.Stream(1)

    def host_buffer(self, nbytes: int, *, mapped: bool) -> HostBuffer:
        """Return memory of the CPU that the GPU can copy from and to, or use as it is if mapped."""
        flags = self._primary.pycuda.host_alloc_flags.DEVICEMAP if mapped else 0
        with self._asked_for(nbytes, "host"):
            return HostBuffer(
                self._primary.pycuda.pagelocked_empty(nbytes, np.uint8, mem_flags=flags)
            )

    def device_buffer(self, nbytes: int) -> DeviceBuffer:
        """Return memory of the GPU."""
        with self._asked_for(nbytes, "GPU"):
            return DeviceBuffer(self._primary.pycuda.mem_alloc(nbytes))

    def copy_in(self, target: DeviceBuffer, source: np.ndarray, stream: Any) -> None:
        """Copy pinned memory to the GPU, on a stream."""
        self._primary.pycuda.memcpy_htod_async(target.address, source, stream)

    def copy_out(self, target: np.ndarray, source: DeviceBuffer, stream: Any) -> None:
        """Copy memory of the GPU to pinned memory, on a stream."""
        self._primary.pycuda.memcpy_dtoh_async(target, source.address, stream)

    def closes_first(self, user: Closable) -> None:
        """Let ``user`` be closed at the interpreter's exit if it is still there then."""
        self._primary.open.add(user)

    def close(self) -> None:
        """Let go; the last one frees the context. A second call does nothing.

        Everything made with it has to be closed before.
        """
        with _lock:
            if self._closed or self._process != os.getpid():
                return
            self._closed = True
            self._primary.users -= 1
            if self._primary.users == 0:
                del _primaries[self.index]
                with self.freeing():
                    self._primary.release()

    @contextmanager
    def _asked_for(self, nbytes: int, where: str) -> Iterator[None]:
        try:
            yield
        except self._primary.pycuda.MemoryError as error:
            free, total = self._primary.pycuda.mem_get_info()
            raise CodesignError(
                f"out of {where} memory on GPU {self.index}: asked for {_mib(nbytes)}, the GPU has "
                f"{_mib(free)} of {_mib(total)} free; lower tensorrt.max_batch or "
                "tensorrt.contexts, or end other programs"
            ) from error


class HostBuffer:
    """Page-locked memory of the CPU. Made and closed under ``active``.

    Attributes:
        array: the memory, uint8 (nbytes,); not to be used after ``close``.
    """

    def __init__(self, array: np.ndarray) -> None:
        self.array = array
        self._allocation: Any = array.base

    @property
    def address(self) -> int:
        """Where the GPU finds it, if it is mapped."""
        return int(self._allocation.get_device_pointer())

    def close(self) -> None:
        """Free it. A second call does nothing."""
        allocation, self._allocation = self._allocation, None
        self.array = np.empty(0, np.uint8)
        if allocation is not None:
            allocation.free()


class DeviceBuffer:
    """Memory of the GPU. Made and closed under ``active``."""

    def __init__(self, allocation: Any) -> None:
        self._allocation = allocation
        self.address = int(allocation)

    def close(self) -> None:
        """Free it. A second call does nothing."""
        allocation, self._allocation = self._allocation, None
        if allocation is not None:
            allocation.free()


def open_gpu(index: int) -> CudaContext:
    """Take hold of a GPU. Close what this returns.

    Raises:
        CodesignError: no driver, no such GPU, no PyCUDA, or they do not fit together.
    """
    with _lock:
        primary = _primaries.get(index)
        if primary is None:
            primary = _primaries[index] = _Primary(index)
        else:
            primary.users += 1
        return CudaContext(primary)


@contextmanager
def _one_line(pycuda: Any, what: str) -> Iterator[None]:
    """Raise PyCUDA's errors as one line."""
    try:
        yield
    except (pycuda.Error, pycuda.MemoryError) as error:
        raise CodesignError(f"{what}: {one_line(error)}") from error


def _mib(nbytes: int) -> str:
    return f"{nbytes / 2**20:.1f} MiB"


def _close_all() -> None:
    """Close what is open, at the interpreter's exit, while the driver is still there."""
    for primary in list(_primaries.values()):
        for user in list(primary.open):
            user.close()
        if _primaries.pop(primary.index, None) is not None:
            primary.release()


def _forget_after_fork() -> None:
    global _lock
    _lock = threading.RLock()  # another thread may have held it
    _of_the_parent.extend(_primaries.values())
    _primaries.clear()


atexit.register(_close_all)
os.register_at_fork(after_in_child=_forget_after_fork)
