"""Profiles of devices that are not there, for the planner."""

from dataclasses import fields

from codesign_ros.cost.half_times import HalfTimes
from codesign_ros.runtime.device import Heartbeat
from codesign_ros.types.forms import BRANCH_STRUCTURES, HalfForm

ROBOT = "/robot"
CODECS = ("raw", "uint8+zstd")
FRAME_CODECS = ("jpeg", "raw")
# What the structures cost against S3.
FACTORS = dict(zip(BRANCH_STRUCTURES, (1.0, 1.1, 1.2, 1.3), strict=True))
JPEG_BYTES = 6000


def beat_of(device):
    """The heartbeat that a device sends."""
    return Heartbeat(**{field.name: getattr(device, field.name) for field in fields(Heartbeat)})


def profile(bundle, whole_s, part):
    """Times that grow with the segments of the half; sizes from the shapes."""
    last = bundle.last_cut
    half_s, codec_s, codec_bytes = {}, {}, {}
    for cut in range(last + 1):
        share = cut / last if part == "head" else 1 - cut / last
        for structure, factor in FACTORS.items():
            time_s = 0.002 * (part == "head") + whole_s * share * factor
            half_s[HalfForm(cut, structure)] = time_s
        nbytes = sum(spec.nbytes for spec in bundle.crossings[cut])
        for codec, size in (("raw", nbytes), ("uint8+zstd", nbytes / 6), ("jpeg", JPEG_BYTES)):
            if cut < last and (codec == "raw" or (codec == "jpeg") == (cut == 0)):
                codec_s[cut, codec] = 1e-4
                codec_bytes[cut, codec] = size
    return HalfTimes(half_s, frozenset(), codec_s, codec_bytes)
