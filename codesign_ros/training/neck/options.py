"""What ``codesign train --neck`` takes beside what every training takes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from codesign_ros.training.scenes import SceneOptions
from codesign_ros.types.codec_names import NECK_CODECS
from codesign_ros.types.errors import CodesignError

BYTES_A_PIXEL = (0.02, 0.015, 0.0105, 0.0076, 0.004)
"""What the rate levels are to have where nothing else is said, for each pixel of the input."""


@dataclass(frozen=True, kw_only=True)
class NeckOptions(SceneOptions):
    """Options of a neck's training.

    Attributes:
        data: ``mine``, or a source that ``data.sources`` opens; no labels are needed.
        topic: image topic of a bag that has several.
        frames: pictures to learn from, at most.
        neck: the cut.
        enter: the cut whose tensors the decoders make; None = the same.
        bytes: what a frame is to have at each level, the most first; None = `BYTES_A_PIXEL`.
        channels: of the latent; None = so many for each map that is made.
        encoder_width: channels inside the encoder.
        encoder_depth: residual blocks inside the encoder; None = as many as the neck has that the
            bundle has there already, or by how far the decoded map lies behind the cut.
        decoder_width: channels inside the decoder.
        decoder_depth: residual blocks inside the decoder, likewise.
        own_tail: train the segments behind the neck with it, as where the neck that the bundle has
            there already has a tail of its own.
        feature_share: share of the steps, at the beginning, that compare maps alone; None = by how
            far the decoded map lies behind the cut; 0 where it goes on from a neck.
        bfloat16: compute in 16 bits while training.
    """

    what: ClassVar[str] = "the training of a neck"
    usual_epochs: ClassVar[float] = 10.0
    least: ClassVar[Mapping[str, int]] = {
        **SceneOptions.least, "neck": 1, "channels": 1, "encoder_width": 1, "encoder_depth": 0,
        "decoder_width": 1, "decoder_depth": 0,
    }  # fmt: skip

    neck: int
    topic: str | None = None
    enter: int | None = None
    bytes: tuple[int, ...] | None = None
    channels: int | None = None
    encoder_width: int = 64
    encoder_depth: int | None = None
    decoder_width: int = 96
    decoder_depth: int | None = None
    own_tail: bool = False
    feature_share: float | None = None
    frames: int = 2000
    val_frames: int = 60
    bfloat16: bool = False

    @property
    def target(self) -> int:
        """The cut whose tensors the decoders make."""
        return self.neck if self.enter is None else self.enter

    def check(self) -> None:
        """Raise CodesignError with one line on a value that makes no sense."""
        super().check()
        if self.init is None:
            raise CodesignError("a neck needs --init BUNDLE, the network that it is for")
        if self.target < self.neck:
            raise CodesignError(f"--enter must be {self.neck} or more, not {self.target}")
        sizes = self.bytes
        if sizes is not None and (
            not 1 <= len(sizes) <= len(NECK_CODECS)
            or min(sizes) < 1
            or sorted(sizes, reverse=True) != [*sizes]
        ):
            said = " ".join(map(str, sizes))
            raise CodesignError(
                f"--bytes must be 1 to {len(NECK_CODECS)} sizes, the largest first, not {said}"
            )
