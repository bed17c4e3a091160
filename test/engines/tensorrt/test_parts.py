"""Every part of both shipped networks becomes an engine of TensorRT (for RTX), in every form.

Building needs no GPU. Running does; what the engines compute is not shown here. In every run each
part is built in one of its forms, and each structure and each precision with some parts; with
``--every-combination`` each part is built in all.
"""

from importlib.util import find_spec
from itertools import product

import pytest

from codesign_ros.bundle import Bundle
from codesign_ros.types.forms import PRECISIONS, Structure
from support.paths import BUNDLES
from support.sampling import covering
from support.tensorrt_parts import build_parts, parts_of

needs_rtx = pytest.mark.skipif(
    not find_spec("tensorrt_rtx_bindings"), reason="TensorRT for RTX is not installed"
)
FORMS = list(product(Structure, PRECISIONS))


def sample(path):
    """Names of the parts that every run builds of a bundle, by form."""
    names = [part.name for part in parts_of(Bundle.open(path))]
    # A form is exported once, which takes longer than most of its parts: few forms.
    forms = covering(FORMS, seed=path.stem)
    dealt = {form: set() for form in forms}
    for form, name in covering(product(forms, names), seed=path.stem):
        dealt[form].add(name)
    return dealt


def pytest_generate_tests(metafunc):
    if "names" not in metafunc.fixturenames:
        return
    whole = metafunc.config.getoption("--every-combination")
    for_all = dict.fromkeys(FORMS)
    metafunc.parametrize(
        ("path", "structure", "precision", "names"),
        [
            pytest.param(path, *form, names, id=f"{path.stem}-{form[0].value}-{form[1]}")
            for path in BUNDLES
            for form, names in (for_all if whole else sample(path)).items()
        ],
    )


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    return tmp_path_factory.mktemp("built")


@needs_rtx
def test_parts_become_engines(path, structure, precision, names, built):
    """``names``: of the parts; None for all."""
    wrong = build_parts(path, structure, precision, names, built)
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("path", BUNDLES, ids=lambda path: path.stem)
def test_the_sample_has_every_part_structure_and_precision(path):
    dealt = sample(path)
    assert set().union(*dealt.values()) == {part.name for part in parts_of(Bundle.open(path))}
    assert {structure for structure, _ in dealt} == set(Structure)
    assert {precision for _, precision in dealt} == set(PRECISIONS)
    assert all(dealt.values())
    assert sample(path) == dealt


def test_both_shipped_networks_are_here():
    assert len(BUNDLES) == 2
