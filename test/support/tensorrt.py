"""TensorRT without a GPU: the CUDA driver's double, built, and engines that run ONNX Runtime.

PyCUDA, ``engines.cuda`` and ``engines.tensorrt`` are the real ones. The driver is
``cuda_double/cuda.c``, and an execution context here runs the piece of ONNX with ONNX Runtime on
the addresses and the stream that it was given.
"""

import ctypes
import functools
import os
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import onnxruntime

from codesign_ros.engines.tensorrt.tensors import EngineTensor
from codesign_ros.engines.tensorrt.versions import Loaded
from codesign_ros.types.errors import CodesignError
from support.paths import ROOT

PYCUDA = Path(os.environ.get("CODESIGN_TEST_PYCUDA", ROOT / "build" / "pycuda"))
"""Where ``scripts/pycuda_for_tests`` puts PyCUDA."""

FREE_BATCH = b"free batch"
"""Before a piece of ONNX: an engine whose batch size is free."""


def missing():
    """What the tests with the double need and this machine has not; None if it has all."""
    if not list(PYCUDA.glob("pycuda/_driver*.so")):
        return f"no PyCUDA in {PYCUDA}: run scripts/pycuda_for_tests {PYCUDA}"
    return None if shutil.which("cc") and shutil.which("nm") else "no C compiler (cc, nm)"


@functools.cache
def build_double(directory):
    """Build the double as libcuda.so.1 in ``directory``."""
    (driver,) = PYCUDA.glob("pycuda/_driver*.so")
    wanted = {
        line.split()[-1]
        for line in run(["nm", "-D", "--undefined-only", driver]).splitlines()
        if line.split()[-1].startswith("cu")
    }
    plain, library = directory / "plain.so", directory / "libcuda.so.1"
    source = Path(__file__).parent / "cuda_double" / "cuda.c"
    compile_ = ["cc", "-O1", "-shared", "-fPIC", "-pthread", "-Wl,-soname,libcuda.so.1", source]
    run([*compile_, "-o", plain])
    there = {line.split()[-1] for line in run(["nm", "-D", "--defined-only", plain]).splitlines()}
    rest = directory / "unsupported.c"
    rest.write_text(
        "".join(f"int {name}(void) {{ return 801; }}\n" for name in sorted(wanted - there))
    )
    run([*compile_, rest, "-o", library])
    return directory


def run(command):
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def run_on_double(directory, script, **variables):
    """Run a Python script with the double as its driver; return what it prints."""
    environment = {
        **os.environ,
        "LD_LIBRARY_PATH": str(build_double(directory)),
        "PYTHONPATH": os.pathsep.join(map(str, (ROOT, ROOT / "test", PYCUDA))),
        "OMP_NUM_THREADS": "1",
        # A PyCUDA that was linked with an empty driver may not ask for one itself.
        "LD_PRELOAD": str(build_double(directory) / "libcuda.so.1"),
        **variables,
    }
    done = subprocess.run(
        [sys.executable, "-c", script],
        env=environment,
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    assert "PyCUDA WARNING" not in done.stderr, done.stderr
    return done.stdout


def driver():
    """The double, in a process that runs on it."""
    return ctypes.CDLL("libcuda.so.1")


def alive():
    """What is alive in the double, and what was done wrong: all zeros at the end of a test."""
    names = ("contexts", "allocations", "streams", "graphs")
    counts = {name: getattr(driver(), f"double_live_{name}")() for name in names}
    return {
        **counts,
        "misuses": driver().double_misuses(),
        "depth": driver().double_stack_depth(),
    }


class FakeApi:
    """In place of ``engines.tensorrt.versions.Api``; an engine's bytes are a piece of ONNX."""

    log = SimpleNamespace(take=lambda: ["the fake fails"])
    capturable = True
    fails = False  # whether runs fail

    def deserialize(self, data, dla_core=None):
        free = data.startswith(FREE_BATCH)
        session = onnxruntime.InferenceSession(
            data.removeprefix(FREE_BATCH), providers=["CPUExecutionProvider"]
        )
        return Loaded(SimpleNamespace(session=session, free=free), None)

    def tensors(self, loaded):
        session, free = loaded.engine.session, loaded.engine.free
        return tuple(
            EngineTensor(t.name, is_input, (-1 if free else 1, *t.shape[1:]), np.dtype(np.float32))
            for is_input, tensors in ((True, session.get_inputs()), (False, session.get_outputs()))
            for t in tensors
        )

    def create_context(self, loaded):
        return FakeExecution(self, loaded.engine, self.tensors(loaded))

    def is_capturable(self, context, stream_handle):
        return self.capturable


class FakeExecution:
    """An execution context. Has memory of the GPU, as TensorRT's have."""

    def __init__(self, api, engine, tensors):
        self._api, self._engine, self._tensors = api, engine, tensors
        self._addresses, self._size, self._kept = {}, 0 if engine.free else 1, []
        self._driver, self._memory = driver(), ctypes.c_void_p()
        code = self._driver.cuMemAlloc_v2(ctypes.byref(self._memory), ctypes.c_size_t(64))
        if code:
            raise CodesignError(f"no memory for an execution context ({code})")

    def __del__(self):
        if self._memory:
            self._driver.cuMemFree_v2(self._memory)

    def set_tensor_address(self, name, address):
        self._addresses[name] = address
        return True

    def set_input_shape(self, name, shape):
        self._size = shape[0]
        return True

    def execute_async_v3(self, stream):
        if self._api.fails or self._size == 0:
            return False
        # Without a reference to this, or it would not go when the last one to it does.
        compute = functools.partial(
            _compute, self._engine.session, self._tensors, self._addresses, self._size
        )
        work = ctypes.CFUNCTYPE(None, ctypes.c_void_p)(compute)
        self._kept.append(work)  # a graph may call it again
        return self._driver.double_enqueue(ctypes.c_void_p(stream), work, None) == 0


def _compute(session, tensors, addresses, size, _):
    memory = {
        t.name: np.ctypeslib.as_array(
            ctypes.cast(addresses[t.name], ctypes.POINTER(ctypes.c_float)), (size, *t.shape[1:])
        )
        for t in tensors
    }
    outputs = [t.name for t in tensors if not t.is_input]
    for index in range(size):
        frame = {t.name: memory[t.name][index : index + 1] for t in tensors if t.is_input}
        for name, result in zip(outputs, session.run(outputs, frame), strict=True):
            memory[name][index] = result[0]


# A piece, its specs, frames with the answers of ONNX Runtime, and what must be left at the end.
BEGIN = """
import gc, threading, time
import numpy as np, onnxruntime
from support.tensorrt import FREE_BATCH, FakeApi, alive, driver
from support.tensorrt_pieces import convolution
from codesign_ros.engines.tensorrt.cuda import open_gpu
from codesign_ros.engines.tensorrt.engine import TensorRtEngine
from codesign_ros.engines.tensorrt.settings import TensorRtSettings
from codesign_ros.types.errors import CodesignError
from codesign_ros.types.tensors import TensorSpec

PIECE = convolution()
INS, OUTS = (TensorSpec("x", (1, 3, 16, 16)),), (TensorSpec("y", (1, 8, 16, 16)),)
session = onnxruntime.InferenceSession(PIECE, providers=["CPUExecutionProvider"])
rng = np.random.default_rng(1)
FRAMES = [{"x": rng.normal(size=(1, 3, 16, 16)).astype(np.float32)} for _ in range(16)]
WANTED = [session.run(None, frame)[0] for frame in FRAMES]
NOTHING = dict(contexts=0, allocations=0, streams=0, graphs=0, misuses=0, depth=0)

def make(gpu, free=True, api=None, **settings):
    data = (FREE_BATCH if free else b"") + PIECE
    return TensorRtEngine(api or FakeApi(), gpu, data, INS, OUTS, TensorRtSettings(**settings))
"""
END = """
assert alive() == NOTHING, alive()
"""
