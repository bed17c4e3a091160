"""Head, wire and tail with a neck between them, against torch in one process."""

import numpy as np
import pytest
import torch

from codesign_ros.bundle import Bundle
from codesign_ros.engines.factory import open_backend
from codesign_ros.evaluation.offline import evaluate
from codesign_ros.models.halves import split
from codesign_ros.models.reparam import reparameterize
from codesign_ros.pixels.letterbox import normalise
from codesign_ros.runtime.answers import classified
from codesign_ros.runtime.neck_codec import NeckCodec
from codesign_ros.runtime.stages.engine_keys import head_key, tail_key
from codesign_ros.runtime.stages.head import HeadStage
from codesign_ros.runtime.stages.plan_check import check_plan
from codesign_ros.runtime.stages.tail import TailStage
from codesign_ros.types.errors import CodesignError
from codesign_ros.types.forms import Merge, Structure
from codesign_ros.types.plan import RateLevel
from codesign_ros.wire.codecs import encode
from codesign_ros.wire.decode import WireError
from support.runtime import plan_for, whole_scores
from support.tiny import tiny_frames
from support.tiny_neck import write_tiny_neck
from support.two_maps import LATER, ONE, TWO

CUTS = ((3, 3), (4, 7))
FRAMES = tiny_frames(5, seed=8)


@pytest.fixture(scope="module")
def bundle(tmp_path_factory, tiny_bundle):
    """The tiny network with two necks, one of which skips segments."""
    folder = tmp_path_factory.mktemp("necks")
    bundle = tiny_bundle
    for number, (cut, enter) in enumerate(CUTS):
        bundle = write_tiny_neck(folder / f"{number}.bundle", bundle, cut, enter, seed=number)
    return bundle


@pytest.fixture(scope="module")
def factory(bundle, engine_cache):
    return open_backend(bundle, cache_dir=engine_cache)


def stages(bundle, factory, cut, level, rate_bps=lambda: 0.0, **fields):
    plan = plan_for(bundle, 1, cut, codec=f"neck.{level}", **fields)
    check_plan(plan, bundle)
    return (
        HeadStage(bundle, plan, factory.build(head_key(plan)), rate_bps=rate_bps),
        TailStage(bundle, plan, factory.build(tail_key(plan))),
    )


def halves_of(bundle, cut):
    """Head and tail of the folded network around a neck, in torch."""
    network = reparameterize(bundle.network(), Structure.S3, Merge.FOLD).eval()
    return split(network, cut)[0], split(network, bundle.neck(cut).enter)[1]


def codes_in_torch(bundle, cut, level, frame):
    """What the encoder makes of a frame, in steps, before it is rounded (C, h, w)."""
    head, _ = halves_of(bundle, cut)
    gain = bundle.neck_tables(cut).gains[level][:, None, None]
    with torch.no_grad():
        crossing = head({"image": torch.from_numpy(normalise(frame, bundle.input))})
        return bundle.neck_module(cut).encoder(*crossing.values())[0].numpy() * gain


def answer_in_torch(bundle, cut, latent):
    """What the network says behind the decoder."""
    _, tail = halves_of(bundle, cut)
    names = [spec.name for spec in tail.inputs]
    with torch.no_grad():
        decoded = bundle.neck_module(cut).decode(torch.from_numpy(latent))
        (output,) = tail(dict(zip(names, decoded, strict=True))).values()
    return classified(output.numpy(), bundle.classes)


@pytest.mark.parametrize("cut", [cut for cut, _ in CUTS])
def test_over_the_wire_is_as_in_one_process_for_every_frame_and_level(bundle, factory, cut):
    check_over_the_wire(bundle, factory, cut)


@pytest.mark.parametrize(("cut", "enter"), [(TWO, TWO), (TWO, LATER), (ONE, LATER)])
def test_several_maps_over_the_wire_are_as_in_one_process(
    two_maps_bundle, tmp_path, engine_cache, cut, enter
):
    assert [len(two_maps_bundle.crossings[each]) for each in (ONE, TWO, LATER)] == [1, 2, 2]
    made = write_tiny_neck(tmp_path / "two.bundle", two_maps_bundle, cut, enter)
    check_over_the_wire(made, open_backend(made, cache_dir=engine_cache), cut)


def check_over_the_wire(bundle, factory, cut):
    (whole, *_), _ = whole_scores(bundle, factory, FRAMES)
    sizes = []
    for level in range(bundle.neck(cut).levels):
        head, tail = stages(bundle, factory, cut, level)
        for number, frame in enumerate(FRAMES):
            (encoded,) = head.run(frame).encoded
            assert (encoded.name, encoded.codec) == ("neck", f"neck.{level}")
            assert encoded.shape == (1, *bundle.neck(cut).shape)
            steps = codes_in_torch(bundle, cut, level, frame)
            most = bundle.neck(cut).largest_code
            latent = tail.decode([encoded])["neck"]
            codes = latent[0] * bundle.neck_tables(cut).gains[level][:, None, None]
            np.testing.assert_allclose(codes, np.rint(codes), atol=1e-4)
            # Rounded to the next code; what another engine computes differs by little.
            assert np.abs(np.clip(steps, -most, most) - codes).max() < 0.5 + 0.01
            assert np.count_nonzero(codes) > 10
            answer = tail.run({"neck": latent})
            expected = answer_in_torch(bundle, cut, latent)
            np.testing.assert_allclose(answer.class_scores, expected.class_scores, atol=1e-5)
            sizes.append(encoded.payload_bytes)
            if number == 0:  # an untrained neck changes the answer: it was run
                assert np.abs(np.array(answer.class_scores) - whole).max() > 1e-3
    assert len(set(sizes)) > 3


def test_the_evaluation_runs_the_same(bundle, factory):
    class Source(list):
        pass

    from codesign_ros.data.frames import SourceFrame

    height, width = bundle.input.height, bundle.input.width
    source = [
        SourceFrame(number, frame.tobytes(), "rgb8", height, width, 3 * width)
        for number, frame in enumerate(FRAMES)
    ]
    head, tail = stages(bundle, factory, 3, 1)
    expected = [tail.run(tail.decode(head.run(frame).encoded)) for frame in FRAMES]
    found = evaluate(source, bundle, cut=3, codec="neck.1").predictions
    assert [each.answer.class_scores for each in found] == [e.class_scores for e in expected]
    with pytest.raises(CodesignError, match=r"has no neck at cut 5 .it has: 3, 4"):
        evaluate(source, bundle, cut=5, codec="neck.1")
    with pytest.raises(CodesignError, match=r"the neck at cut 3 has no level 'neck.3'; it has: "):
        evaluate(source, bundle, cut=3, codec="neck.3")


def test_a_tail_takes_every_level_whatever_its_plan_says(bundle, factory):
    _, tail = stages(bundle, factory, 3, 0)
    for level in range(bundle.neck(3).levels):
        head, own = stages(bundle, factory, 3, level)
        encoded = head.run(FRAMES[0]).encoded
        assert tail.run(tail.decode(encoded)) == own.run(own.decode(encoded))


def test_a_tail_takes_nothing_else(bundle, factory):
    head, tail = stages(bundle, factory, 3, 1)
    (good,) = head.run(FRAMES[0]).encoded
    (spec,) = bundle.crossings[3]
    plain = encode(spec.name, np.zeros(spec.shape, np.float32), "raw")
    latent = encode("neck", np.zeros(bundle.neck(3).spec.shape, np.float32), "raw")
    other = NeckCodec(bundle, 4).encode(np.zeros(bundle.neck(4).spec.shape, np.float32), 0)
    changed = lambda **fields: type(good)(**{**vars(good), **fields})  # noqa: E731
    for tensors, reason in (
        ([], "shape"),
        ([good, good], "shape"),
        ([plain], "name"),
        ([latent], "codec"),
        ([other], "shape"),
        ([changed(codec="neck.0")], "codec"),
        ([changed(codec="neck.7")], "codec"),
        ([changed(data=bytes(good.data)[:-1])], "corrupt"),
        ([changed(data=b"")], "length"),
        ([changed(scale=np.ones(1, np.float32))], "params"),
    ):
        with pytest.raises(WireError) as caught:
            tail.decode(tensors)
        assert caught.value.reason == reason


def test_a_head_sends_the_level_that_the_link_asks_for(bundle, factory):
    levels = tuple(RateLevel(level, 1000.0 / 4**level, 0.02 * level) for level in range(3))
    rate_bps = [1e9]
    head, tail = stages(
        bundle, factory, 3, 0, lambda: rate_bps[0], levels=levels, lambda_1=1.0, link_bps=1e9
    )
    codecs = []
    for rate_bps[0] in (1e9, 1e4, 1e4, 1e9):
        encoded = head.run(FRAMES[0]).encoded
        codecs.append(encoded[0].codec)
        tail.decode(encoded)
    assert codecs == ["neck.0", "neck.2", "neck.2", "neck.0"]


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"cut": 5, "codec": "neck.1"}, "codec 'neck.1' cannot carry tensor .* at cut 5; usable:"),
        ({"cut": 3, "codec": "neck.3"}, "codec 'neck.3' cannot carry .*, neck.0, neck.1, neck.2$"),
        ({"cut": 0, "codec": "neck.0"}, "codec 'neck.0' cannot carry tensor 'image' at cut 0"),
    ],
)
def test_a_plan_with_a_neck_elsewhere_is_refused(bundle, tiny_bundle, fields, says):
    with pytest.raises(CodesignError, match=says):
        check_plan(plan_for(bundle, 1, **fields), bundle)
    with pytest.raises(CodesignError, match="cannot carry"):
        check_plan(plan_for(tiny_bundle, 1, **{**fields, "cut": 3}), tiny_bundle)
    with pytest.raises(CodesignError, match=r"codec 'neck.1' cannot carry tensor 'a'"):
        encode("a", np.zeros((1, 6, 2, 2), np.float32), "neck.1")


def test_a_bundle_keeps_its_necks(bundle):
    assert Bundle.open(bundle.path).neck_codecs == ("neck.0", "neck.1", "neck.2")
