"""Times of halves at cuts that were not measured, between and beyond those that were.

A half is timed whole, which takes seconds a cut, so a network with many cuts is timed at some of
them. The roofline model tells how a time that was measured is shared out among the segments; what
it gets wrong by a factor cancels out.
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from codesign_ros.cost.half_times import HalfTimes
from codesign_ros.cost.payload import payload_bytes
from codesign_ros.cost.profile import NetworkProfile
from codesign_ros.cost.roofline import RooflineMode, compute_s
from codesign_ros.types.devices import DeviceSpec
from codesign_ros.types.forms import HalfForm, Structure


def interpolate(measured_s: np.ndarray, roofline_s: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Fill in the times that were not measured.

    Between two neighbouring measured cuts the difference of their times is shared out in proportion
    to the roofline time of the segments between them. Beyond the outermost measured cut its time is
    scaled as the half's roofline time. Measured times stay as they are.

    Args:
        measured_s: (N+1,) time of the half at each cut, without what does not depend on the cut
            (preparing the frame); NaN = not measured [s].
        roofline_s: (N+1,) the same as :func:`half_roofline_s` gives it: rising with the cut for a
            head, falling for a tail [s].

    Returns:
        (N+1,) times [s], and (N+1,) whether each was filled in. A time stays NaN where no time was
        measured, or the nearest measured half has no roofline time to scale by.

    Raises:
        ValueError: the arrays differ in shape, or the roofline times neither rise nor fall.
    """
    if measured_s.shape != roofline_s.shape or measured_s.ndim != 1:
        raise ValueError(f"times of shape {measured_s.shape}, roofline {roofline_s.shape}")
    steps = np.diff(roofline_s)
    if not (np.all(steps >= 0) or np.all(steps <= 0)):
        raise ValueError("roofline times must rise or fall with the cut")
    filled_s = measured_s.astype(float)
    known = np.flatnonzero(~np.isnan(measured_s))
    if not known.size:
        return filled_s, np.zeros(len(filled_s), bool)
    for first, last in pairwise(known):
        between = slice(first, last + 1)
        span_s = roofline_s[last] - roofline_s[first]
        done_s = roofline_s[between] - roofline_s[first]
        # Segments without roofline time take none, whatever was measured around them.
        share = done_s / span_s if span_s else np.zeros_like(done_s)
        times_s = measured_s[first] + share * (measured_s[last] - measured_s[first])
        filled_s[first + 1 : last] = times_s[1:-1]
    for nearest, beyond in (
        (known[0], slice(None, known[0])),
        (known[-1], slice(known[-1] + 1, None)),
    ):
        if roofline_s[nearest] > 0:
            scale = measured_s[nearest] / roofline_s[nearest]
            filled_s[beyond] = scale * roofline_s[beyond]
    return filled_s, np.isnan(measured_s) & ~np.isnan(filled_s)


def half_roofline_s(
    network: NetworkProfile,
    device: DeviceSpec,
    structure: Structure,
    precision: str,
    tail: bool = False,
) -> np.ndarray:
    """Roofline time of the head (or the tail) at each cut, segment by segment: (N+1,) [s].

    Each segment has its own intensity; the sum of their times is no less than the roofline time of
    the half as one, and tells better where the time goes.

    Raises:
        CodesignError: the device has no peak for this precision.
    """
    segments_s = [
        compute_s(
            network.flops(i, i + 1, structure),
            network.bytes(i, i + 1, structure),
            device,
            RooflineMode.ROOFLINE,
            precision,
        )
        for i in range(network.segments)
    ]
    if tail:
        return np.append(np.cumsum(segments_s[::-1])[::-1], 0.0)
    return np.append(0.0, np.cumsum(segments_s))


def prepare_s(times: HalfTimes) -> float:
    """Time to prepare the frame, which every measured time of a head includes [s]."""
    return times.half_s.get(HalfForm(0), 0.0)


def between_cuts(
    network: NetworkProfile, times: HalfTimes, device: DeviceSpec, tail: bool = False
) -> HalfTimes:
    """Add the halves at cuts that a device did not time, by its times at other cuts.

    In each structure and precision in which some cut was timed the others are filled in; what is
    filled in counts as ``estimated``. Codecs whose size follows from the shapes are filled in at
    the inner cuts, their times in proportion to the elements that cross; what depends on the values
    (``+zstd``, JPEG) is not. Nor is a half with a neck, which is another network at each cut.

    Args:
        network: what the network does.
        times: what the device measured.
        device: its peaks, of which only the ratio to its memory bandwidth matters. A precision
            that it has no peak for is not filled in.
        tail: whether these are tails.
    """
    last = network.segments
    offset_s = 0.0 if tail else prepare_s(times)
    # The empty half: a tail's at cut N, a head's at cut 0, which only prepares the frame.
    empty = last if tail else 0
    half_s, estimated = dict(times.half_s), set(times.estimated)
    plain = (form for form in times.half_s if not form.neck)
    for form in dict.fromkeys(form._replace(cut=empty) for form in plain):
        if form.structure not in network.segment_flops or not device.has(form.precision):
            continue
        forms = [form._replace(cut=cut) for cut in range(last + 1)]
        measured_s = np.array([times.half_s.get(each, np.nan) for each in forms]) - offset_s
        measured_s[empty] = 0.0
        roofline_s = half_roofline_s(network, device, form.structure, form.precision, tail)
        filled_s, filled = interpolate(measured_s, roofline_s)
        added = {forms[cut]: float(filled_s[cut]) + offset_s for cut in np.flatnonzero(filled)}
        half_s |= added
        estimated |= added.keys()
    codecs = _codecs_between(network, times)
    return HalfTimes(half_s, frozenset(estimated), *codecs, times.codec_spread, times.payload_scale)


def _codecs_between(
    network: NetworkProfile, times: HalfTimes
) -> tuple[dict[tuple[int, str], float], dict[tuple[int, str], float]]:
    """Times [s] and sizes [bytes] of codecs by (cut, codec), with the cuts that were not timed."""
    codec_s, codec_bytes = dict(times.codec_s), dict(times.codec_bytes)
    inner = range(1, network.segments)
    elements = np.array([sum(s.elements for s in specs) for specs in network.crossings], float)
    for codec in {codec for cut, codec in times.codec_s if cut in inner}:
        timed = [cut for cut in inner if (cut, codec) in times.codec_s]
        timed.sort(key=lambda cut: elements[cut])
        # From none at all on, so that fewer elements than were ever timed take less.
        sizes = np.append(0.0, elements[timed])
        times_s = np.append(0.0, [times.codec_s[cut, codec] for cut in timed])
        for cut in inner:
            payloads = [payload_bytes(spec, codec) for spec in network.crossings[cut]]
            if (cut, codec) in times.codec_s or None in payloads:
                continue
            more = max(elements[cut] / sizes[-1], 1.0)
            codec_s[cut, codec] = more * float(np.interp(elements[cut], sizes, times_s))
            codec_bytes[cut, codec] = float(sum(size or 0 for size in payloads))
    return codec_s, codec_bytes
