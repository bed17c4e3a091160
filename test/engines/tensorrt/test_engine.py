"""The TensorRT engine, its lanes and the real PyCUDA, on a double of the driver.

Each test is a process of its own that runs on the double; see ``support.tensorrt``.
"""

import pytest

from support import tensorrt

pytestmark = pytest.mark.skipif(tensorrt.missing() is not None, reason=str(tensorrt.missing()))


def check(double, script):
    return tensorrt.run_on_double(double, tensorrt.BEGIN + script + tensorrt.END)


@pytest.mark.parametrize("zero_copy", [False, True])
@pytest.mark.parametrize("cuda_graph", [False, True])
@pytest.mark.parametrize("free", [False, True])
def test_answers_are_those_of_onnx_runtime(double, free, cuda_graph, zero_copy):
    check(
        double,
        f"""
gpu = open_gpu(0)
engine = make(gpu, {free}, max_batch=4, cuda_graph={cuda_graph}, zero_copy={zero_copy})
assert engine.max_batch == (4 if {free} else 1)
for size in (1, 4, 2, 1, 3, 4, 4, 1, 1):
    size = min(size, engine.max_batch)
    results = engine.run_batch(FRAMES[:size])
    assert len(results) == size
    for result, wanted in zip(results, WANTED):
        np.testing.assert_array_equal(result["y"], wanted)
first = engine.run(FRAMES[0])["y"]
engine.run(FRAMES[1])
np.testing.assert_array_equal(first, WANTED[0])  # the arrays are the caller's
assert (driver().double_launches() > 0) == {cuda_graph}
engine.close(); gpu.close()
""",
    )


def test_threads_each_get_their_own_answer(double):
    check(
        double,
        """
gpu = open_gpu(0)
engine = make(gpu, max_batch=3, contexts=4)
wrong = []
def hammer(first):
    for turn in range(60):
        index = (first + turn) % len(FRAMES)
        if not np.array_equal(engine.run(FRAMES[index])["y"], WANTED[index]):
            wrong.append(index)
    if alive()["depth"]:
        wrong.append("context left on the thread's stack")
threads = [threading.Thread(target=hammer, args=(i,)) for i in range(8)]
[t.start() for t in threads]; [t.join() for t in threads]
assert not wrong, wrong
engine.close(); gpu.close()
""",
    )


def test_who_waits_is_taken_along_and_shares_the_error(double):
    check(
        double,
        """
gpu = open_gpu(0)
engine = make(gpu, max_batch=4, contexts=1, cuda_graph=False)
lane, sizes, entered, go = engine._lanes[0], [], threading.Event(), threading.Event()
run_lane = lane.run
def slow(frames):
    sizes.append(len(frames)); entered.set(); go.wait()
    if len(sizes) > 1:
        raise CodesignError("it breaks")
    return run_lane(frames)
lane.run = slow
outcomes = []
def call(i):
    try:
        outcomes.append(np.array_equal(engine.run(FRAMES[i])["y"], WANTED[i]))
    except CodesignError as error:
        outcomes.append(str(error))
threads = [threading.Thread(target=call, args=(i,)) for i in range(4)]
threads[0].start(); entered.wait()
[t.start() for t in threads[1:]]
while len(engine._waiting) < 3: time.sleep(0.001)
closer = threading.Thread(target=engine.close); closer.start()  # waits for all of them
while not engine._closing: time.sleep(0.001)
go.set(); [t.join() for t in threads]; closer.join()
assert sizes == [1, 3], sizes
assert outcomes.count(True) == 1 and outcomes.count("it breaks") == 3, outcomes
try: engine.run(FRAMES[0]); raise SystemExit("ran after close")
except RuntimeError as error: assert "closed" in str(error)
engine.close(); gpu.close()
""",
    )


def test_nothing_is_left_after_100_cycles_nor_when_another_thread_closes(double):
    check(
        double,
        """
for turn in range(100):
    gpu = open_gpu(turn % 2)
    engine = make(gpu, max_batch=2, zero_copy=turn % 3 == 0)
    engine.warm_up()
    def end():
        engine.close(); gpu.close(); gpu.close()
        assert alive()["depth"] == 0
    thread = threading.Thread(target=end); thread.start(); thread.join()
    assert alive() == NOTHING, (turn, alive())
""",
    )


# The double's GPU is one that shares its memory with the CPU, which None goes by.
@pytest.mark.parametrize("zero_copy", [False, True, None])
def test_out_of_memory_anywhere_is_one_line_and_leaks_nothing(double, zero_copy):
    check(
        double,
        f"""
gpu = open_gpu(0)
for nth in range(1, 100):
    driver().double_fail_allocation(nth)
    try:
        engine = make(gpu, max_batch=3, zero_copy={zero_copy})
    except CodesignError as error:
        assert "memory" in str(error) and "\\n" not in str(error), error
    else:
        driver().double_fail_allocation(0)
        engine.close()
        break
    driver().double_fail_allocation(0)
    assert alive()["allocations"] == alive()["streams"] == 0, (nth, alive())
assert nth == 2 * ({4 if zero_copy is False else 2}) + 2 * 3 + 1, nth
gpu.close()
""",
    )


def test_runs_that_fail_and_captures_that_fail_leave_the_engine_usable(double):
    check(
        double,
        """
gpu, api = open_gpu(0), FakeApi()
engine = make(gpu, api=api, contexts=1)
api.fails = True
for _ in range(3):
    try: engine.run(FRAMES[0]); raise SystemExit("did not fail")
    except CodesignError as error: assert "the fake fails" in str(error), error
api.fails = False
run_way = type(engine._lanes[0]._ways[1].execution).execute_async_v3
calls = []
def breaks_in_capture(self, stream):
    calls.append(1)
    return run_way(self, stream) if len(calls) != 2 else False
type(engine._lanes[0]._ways[1].execution).execute_async_v3 = breaks_in_capture
for i in range(4):
    np.testing.assert_array_equal(engine.run(FRAMES[i])["y"], WANTED[i])
assert driver().double_launches() == 0 and len(calls) == 5, calls
engine.close(); gpu.close()
""",
    )


@pytest.mark.parametrize("cuda_graph", [False, True])
def test_a_gpu_that_is_lost_is_told_from_one_that_failed(double, cuda_graph):
    check(
        double,
        f"""
gpu, other = open_gpu(0), open_gpu(0)
engine = make(gpu, contexts=1, cuda_graph={cuda_graph}, zero_copy=False)
for i in range(3):
    engine.run(FRAMES[i])
for times, lost in ((1, False), (2, False), (-1, True), (-1, True)):
    driver().double_break(times)
    try: engine.run(FRAMES[0]); raise SystemExit("did not fail")
    except CodesignError as error: assert "\\n" not in str(error), error
    assert bool(gpu.lost) == bool(other.lost) == lost, (times, gpu.lost)
    if not lost:
        np.testing.assert_array_equal(engine.run(FRAMES[1])["y"], WANTED[1])
assert gpu.lost.startswith("GPU 0 is lost to this process: "), gpu.lost
gc.collect()  # exceptions and the frames that they name hold each other, and the stream
engine.close(); gpu.close(); other.close()
driver().double_break(0)
again = open_gpu(0)
assert not again.lost
again.close()
""",
    )


def test_arrays_that_do_not_fit_are_named(double):
    check(
        double,
        """
gpu = open_gpu(0)
engine = make(gpu)
for bad, words in (
    ({}, "takes x"),
    ({"z": FRAMES[0]["x"]}, "not z"),
    ({"x": FRAMES[0]["x"][:, :2]}, "(1, 2, 16, 16)"),
    ({"x": FRAMES[0]["x"].astype(np.float64)}, "float64"),
):
    try: engine.run(bad); raise SystemExit(f"took {bad.keys()}")
    except ValueError as error: assert words in str(error), error
try: engine.run_batch(FRAMES[:2]); raise SystemExit("took two")
except ValueError as error: assert "up to 1" in str(error)
assert engine.run_batch([]) == []
engine.close()
other = (TensorSpec("y", (1, 9, 16, 16)),)
try: TensorRtEngine(FakeApi(), gpu, PIECE, INS, other, TensorRtSettings())
except CodesignError as error: assert "y should be" in str(error)
gpu.close()
""",
    )
