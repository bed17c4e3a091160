"""Every part of both shipped networks, in every form, becomes an engine of TensorRT (for RTX).

Building needs no GPU. Running does; what the engines compute is not shown here.
"""

import multiprocessing
from concurrent.futures import ProcessPoolExecutor
from importlib.util import find_spec

import pytest

from codesign_ros.types import PRECISIONS, Structure
from support.paths import BUNDLES
from support.tensorrt_parts import build_all

pytestmark = pytest.mark.skipif(
    not find_spec("tensorrt_rtx_bindings"), reason="TensorRT for RTX is not installed"
)

PROCESSES = 2
CASES = [
    pytest.param((bundle, structure, precision), id=f"{bundle.stem}-{structure.value}-{precision}")
    for bundle in BUNDLES
    for structure in Structure
    for precision in PRECISIONS
]


@pytest.fixture(scope="module")
def results(request, tmp_path_factory):
    """Builds of all cases that were selected, under way in two processes, by case."""
    selected = [
        item.callspec.params["case"]
        for item in request.session.items
        if item.path == request.path and "results" in item.fixturenames
    ]
    built = tmp_path_factory.mktemp("built")
    with ProcessPoolExecutor(PROCESSES, multiprocessing.get_context("spawn")) as pool:
        yield {case: pool.submit(build_all, *case, built) for case in selected}
        pool.shutdown(cancel_futures=True)


@pytest.mark.parametrize("case", CASES)
def test_every_part_becomes_an_engine(results, case):
    wrong = results[case].result()
    assert not wrong, "\n".join(wrong)


def test_both_shipped_networks_are_here():
    assert len(BUNDLES) == 2
