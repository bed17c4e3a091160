"""GPUs through the real PyCUDA on a double of the driver; see ``support.tensorrt``."""

import ast

import pytest

from support import tensorrt

pytestmark = pytest.mark.skipif(tensorrt.missing() is not None, reason=str(tensorrt.missing()))


def test_one_context_for_all_who_open_it_on_any_thread(double):
    tensorrt.run_on_double(
        double,
        tensorrt.BEGIN
        + """
first, second = open_gpu(0), open_gpu(0)
assert alive()["contexts"] == 1
with first.active(), second.active(), first.active():
    pass
first.close()
assert first.gpu().name == "CUDA double" and first.gpu(2).dla_cores == 2 and first.gpu().integrated
try:
    with first.active(): raise SystemExit("used after close")
except RuntimeError: pass
def use():
    with second.active():
        buffer, shared = second.device_buffer(64), second.host_buffer(64, mapped=True)
        assert shared.address == shared.array.ctypes.data
        buffer.close(); buffer.close(); shared.close()
    second.close()
    assert alive()["depth"] == 0
thread = threading.Thread(target=use); thread.start(); thread.join()
try: open_gpu(2)
except CodesignError as error: assert "no GPU 2: this machine has 2" in str(error)
"""
        + tensorrt.END,
    )


def test_memory_that_is_not_there_says_how_much_was_asked(double):
    tensorrt.run_on_double(
        double,
        tensorrt.BEGIN
        + """
gpu = open_gpu(0)
assert gpu.memory() == (8 * 2**30, 8 * 2**30)
driver().double_fail_allocation(1)
try:
    with gpu.active(): gpu.device_buffer(3 * 2**20)
except CodesignError as error:
    assert "asked for 3.0 MiB" in str(error) and "8192.0 MiB of 8192.0 MiB" in str(error), error
driver().double_fail_allocation(0)
gpu.close()
"""
        + tensorrt.END,
    )


def test_a_fork_is_told_and_the_exit_closes_what_is_open(double):
    said = tensorrt.run_on_double(
        double,
        "import atexit, os\nfrom support.tensorrt import alive\n"
        "atexit.register(lambda: print(alive()))\n"  # last in, first out: after the closing
        + tensorrt.BEGIN
        + """
gpu = open_gpu(0)
engine = make(gpu); engine.warm_up()
child = os.fork()
if child == 0:
    try:
        with gpu.active(): os._exit(1)
    except RuntimeError as error:
        gpu.close()
        os._exit(0 if "spawn" in str(error) else 2)
assert os.waitpid(child, 0)[1] == 0
""",
    )
    assert set(ast.literal_eval(said).values()) == {0}


@pytest.mark.parametrize(
    ("code", "words"),
    [(100, "finds no GPU"), (35, "update the driver"), (803, "update the driver"), (999, "999")],
)
def test_a_driver_that_does_not_start_is_one_line(double, code, words):
    said = tensorrt.run_on_double(
        double,
        "from codesign_ros.engines.tensorrt.cuda import open_gpu\n"
        "from codesign_ros.types.errors import CodesignError\n"
        "try: open_gpu(0)\nexcept CodesignError as error: print(error)",
        DOUBLE_INIT=str(code),
    )
    assert words in said
    assert len(said.splitlines()) == 1
