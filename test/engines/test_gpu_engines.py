"""TensorRT engines on a real GPU against the networks in torch. Run with ``pytest -m gpu``.

This file was written on a machine without a GPU and has not run on one yet.
"""

import threading

import numpy as np
import pytest

from codesign_ros.bundle import Bundle
from codesign_ros.engines.base import EngineKey
from codesign_ros.engines.factory import open_backend
from codesign_ros.engines.tensorrt.cuda import load_pycuda, open_gpu
from codesign_ros.engines.tensorrt.settings import TensorRtSettings
from codesign_ros.resources import resource_path
from codesign_ros.types.errors import CodesignError

pytestmark = pytest.mark.gpu
BUNDLES = ("mine_repvgg", "mine_yolo")
# Greatest difference relative to the greatest number.
TOLERANCE = {"fp32": 1e-3, "fp16": 1e-2}


@pytest.fixture(scope="module", autouse=True)
def gpu():
    try:
        context = open_gpu(0)
    except CodesignError as error:
        pytest.skip(f"no GPU to test on: {error}")
    yield context
    context.close()


@pytest.fixture(scope="module", params=BUNDLES)
def bundle(request):
    return Bundle.open(resource_path("bundles") / f"{request.param}.bundle")


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return tmp_path_factory.mktemp("engines")


def frames(engine, count=1):
    rng = np.random.default_rng(0)
    return [
        {
            s.name: rng.normal(size=s.shape).astype(s.dtype)
            if s.dtype == "float32"
            else rng.integers(0, 256, s.shape, s.dtype)
            for s in engine.inputs
        }
        for _ in range(count)
    ]


def assert_close(result, wanted, tolerance):
    assert result.keys() == wanted.keys()
    for name, array in wanted.items():
        assert np.abs(result[name] - array).max() <= tolerance * np.abs(array).max(), name


@pytest.mark.parametrize("precision", TOLERANCE)
def test_halves_agree_with_torch(bundle, cache, precision):
    tensorrt = open_backend(bundle, "tensorrt", cache)
    torch = open_backend(bundle, "torch", cache)
    last = bundle.last_cut
    try:
        for part, cut in (("head", last // 2), ("tail", last // 2), ("head", last)):
            reference = torch.build(EngineKey(part, cut))
            engine = tensorrt.build(EngineKey(part, cut, precision=precision))
            (frame,) = frames(engine)
            wanted = reference.run(frame)
            for _ in range(3):  # as it is, recorded, replayed
                assert_close(engine.run(frame), wanted, TOLERANCE[precision])
            engine.close()
            reference.close()
    finally:
        tensorrt.close()


@pytest.mark.parametrize("precision", ["int8-tensor", "int8-channel"])
def test_int8_is_as_near_to_fp32_as_on_the_cpu(bundle, cache, precision):
    """The accuracy table was measured with ONNX Runtime's INT8, of the same model."""
    images = [{"image": f} for f in bundle.calibration_frames()[:8]]
    fp32, int8 = EngineKey("tail", 0), EngineKey("tail", 0, precision=precision)
    cpu, tensorrt = open_backend(bundle, cache_dir=cache), open_backend(bundle, "tensorrt", cache)

    def outputs(factory, key):
        engine = factory.build(key)
        try:
            return [engine.run(image) for image in images]
        finally:
            engine.close()

    def error(results):
        pairs = [(r[n], w[n]) for r, w in zip(results, wanted, strict=True) for n in w]
        return np.mean([np.abs(r - w).mean() / np.abs(w).mean() for r, w in pairs])

    try:
        wanted = outputs(cpu, fp32)
        assert error(outputs(tensorrt, int8)) <= 1.2 * error(outputs(cpu, int8)) + 1e-3
    finally:
        tensorrt.close()


def test_batches_and_threads_agree_with_single_runs(bundle, cache):
    settings = TensorRtSettings(max_batch=4, contexts=2)
    factory = open_backend(bundle, "tensorrt", cache, settings=settings)
    engine = factory.build(EngineKey("head", 1))
    try:
        inputs = frames(engine, 8)
        wanted = [engine.run(frame) for frame in inputs]
        for result, single in zip(engine.run_batch(inputs[:4]), wanted[:4], strict=True):
            assert_close(result, single, 1e-3)
        results = [None] * len(inputs)

        def call(index):
            results[index] = engine.run(inputs[index])

        threads = [threading.Thread(target=call, args=(i,)) for i in range(len(inputs))]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        for result, single in zip(results, wanted, strict=True):
            assert_close(result, single, 1e-3)
    finally:
        engine.close()
        factory.close()


def test_100_lifecycles_leave_the_memory_as_it_was(bundle, cache, gpu):
    def cycle():
        factory = open_backend(bundle, "tensorrt", cache)
        engine = factory.build(EngineKey("head", 1))
        engine.warm_up()
        engine.close()
        factory.close()

    for _ in range(3):  # libraries keep some memory once they were used
        cycle()
    before, _ = gpu.memory()
    for _ in range(100):
        cycle()
    assert gpu.memory()[0] >= before - 2**20


def test_pycuda_compiles_and_runs_a_kernel_on_a_stream(gpu):
    pycuda = load_pycuda()
    from pycuda.compiler import SourceModule

    with gpu.active():
        stream = gpu.new_stream()
        host, device = gpu.host_buffer(256, mapped=False), gpu.device_buffer(256)
        module = SourceModule("__global__ void twice(float *a) { a[threadIdx.x] *= 2; }")
        numbers = host.array.view(np.float32)
        numbers[:] = np.arange(64)
        gpu.copy_in(device, host.array, stream)
        module.get_function("twice")(
            np.uintp(device.address), block=(64, 1, 1), grid=(1, 1), stream=stream
        )
        gpu.copy_out(host.array, device, stream)
        stream.synchronize()
        assert stream.is_done()
        assert pycuda.get_version() >= (11, 4, 0)
        assert numbers.tolist() == [2.0 * i for i in range(64)]
        del module, stream
        host.close()
        device.close()
