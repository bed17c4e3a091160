"""Profiles of devices that are not there, for the planner."""

from codesign_ros.cost.half_times import StageProfile
from codesign_ros.types import BRANCH_STRUCTURES

ROBOT = "/robot"
CODECS = ("raw", "uint8+zstd")
FRAME_CODECS = ("jpeg", "raw")
# What the structures cost against S3.
FACTORS = dict(zip(BRANCH_STRUCTURES, (1.0, 1.1, 1.2, 1.3), strict=True))
JPEG_BYTES = 6000


def profile(bundle, whole_s, part):
    """Times that grow with the segments of the half; sizes from the shapes."""
    last = bundle.last_cut
    stage_s, codec_s, codec_bytes = {}, {}, {}
    for cut in range(last + 1):
        share = cut / last if part == "head" else 1 - cut / last
        for structure, factor in FACTORS.items():
            stage_s[cut, structure] = 0.002 * (part == "head") + whole_s * share * factor
        nbytes = sum(spec.nbytes for spec in bundle.crossings[cut])
        for codec, size in (("raw", nbytes), ("uint8+zstd", nbytes / 6), ("jpeg", JPEG_BYTES)):
            if cut < last and (codec == "raw" or (codec == "jpeg") == (cut == 0)):
                codec_s[cut, codec] = 1e-4
                codec_bytes[cut, codec] = size
    return StageProfile(stage_s, frozenset(), codec_s, codec_bytes)
