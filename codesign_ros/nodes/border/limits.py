"""How large a message of this package may be, and each of its parts.

They are far above what any node of ours sends. They stand here and not in the message files: no
middleware checks the bounds of a string on receipt, and Fast DDS would take the memory of the
largest message there can be for each that a queue may hold.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

_MIB = 1 << 20

# Lines that a node words; `types.errors.one_line` cuts them long before.
_SENTENCES = dict.fromkeys(("reason", "message", "throttled"), 1024)
# A half for each cut, structure, merge and precision; of each there are a few.
_ROWS = {
    **dict.fromkeys(("half_cut", "half_structure", "half_merge", "half_precision"), 8192),
    **dict.fromkeys(("half_neck", "half_s", "half_measured"), 8192),
    **dict.fromkeys(("engine_cut", "engine_structure", "engine_merge"), 8192),
    **dict.fromkeys(("engine_precision", "engine_neck", "engine_built"), 8192),
    **dict.fromkeys(("codec_cut", "codec_name", "codec_bytes", "codec_s"), 8192),
    **dict.fromkeys(("codec_bytes_spread",), 8192),
    **dict.fromkeys(("scale_cut", "scale_codec", "scale_precision", "scale"), 8192),
}


@dataclass(frozen=True)
class Limits:
    """The most that is taken.

    Attributes:
        message_bytes: of a whole message [bytes].
        string_bytes: of a string [bytes], and of those whose fields are named in ``strings``.
        entries: of a sequence, and of those whose fields are named in ``sequences``.
    """

    message_bytes: int = _MIB
    string_bytes: int = 256
    entries: int = 1024
    strings: Mapping[str, int] = field(default_factory=lambda: dict(_SENTENCES))
    sequences: Mapping[str, int] = field(default_factory=dict)


_CLASSES = {"class_names": 32768, "class_scores": 32768}

LIMITS: Mapping[str, Limits] = {
    # A frame as it is at 4K, and some; what a tail decodes is limited again by its own bundle.
    "Embedding": Limits(
        message_bytes=64 * _MIB,
        sequences={
            "tensors": 64, "scale": 65536, "offset": 65536, "data": 64 * _MIB,
        },
    ),
    "TailAnswer": Limits(message_bytes=4 * _MIB, sequences=_CLASSES),
    "InferenceResult": Limits(message_bytes=4 * _MIB, sequences=_CLASSES),
    "GroundTruth": Limits(message_bytes=4 * _MIB, sequences={"boxes": 32768}),
    "DeviceProfile": Limits(sequences={"backends": 16, "precisions": 16, **_ROWS}),
}  # fmt: skip
DEFAULT = Limits(message_bytes=64 << 10)
