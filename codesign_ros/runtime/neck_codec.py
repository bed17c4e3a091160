"""What crosses a cut with a neck, as nodes, profiles and evaluation write and read it."""

from __future__ import annotations

import numpy as np

from codesign_ros.bundle import Bundle
from codesign_ros.types.codec_names import NECK_CODECS
from codesign_ros.wire.decode import WireLimits
from codesign_ros.wire.neck.film import CodeReader, CodeWriter
from codesign_ros.wire.neck.latent import decode_latent, encode_latent, write_latent
from codesign_ros.wire.tensor import EncodedTensor


class NeckCodec:
    """Codes of one neck of a bundle.

    Args:
        bundle: has the neck.
        cut: where it is.

    Attributes:
        codecs: its rate levels as codecs, the finest first.

    Raises:
        CodesignError: there is no neck at this cut, or its tables are damaged.
    """

    def __init__(self, bundle: Bundle, cut: int) -> None:
        self._spec, self._tables = bundle.neck(cut).spec, bundle.neck_tables(cut)
        self.codecs = NECK_CODECS[: self._tables.levels]

    def encode(self, latent: np.ndarray, level: int) -> EncodedTensor:
        """Write what the encoder made, float32 (1, C, h, w), at a rate level.

        Raises:
            CodesignError: the values are no numbers, or there is no such level.
        """
        return encode_latent(latent, self._tables, level)

    @property
    def knows_films(self) -> bool:
        """Whether its tables say what comes after the frame before."""
        return self._tables.after is not None

    def writer(self) -> CodeWriter:
        """Make what remembers the frames that one receiver has; for ``write``."""
        return CodeWriter(self._tables)

    def reader(self) -> CodeReader:
        """Make what remembers the frames of one sender; for ``decode``."""
        return CodeReader(self._tables)

    def write(
        self, latent: np.ndarray, level: int, writer: CodeWriter, sequence: int
    ) -> tuple[EncodedTensor, EncodedTensor]:
        """Write a frame for one receiver: what to send, and the same without any other frame.

        Raises:
            CodesignError: as ``encode``.
        """
        return write_latent(latent, self._tables, level, writer, sequence)

    def decode(
        self,
        encoded: EncodedTensor,
        limits: WireLimits,
        reader: CodeReader | None = None,
        sequence: int = 0,
    ) -> np.ndarray:
        """Read what the decoder takes, float32 (1, C, h, w), whatever the level.

        Args:
            encoded: what came.
            limits: bounds on memory.
            reader: of its sender; None = only what stands alone can be read.
            sequence: number of the frame.

        Raises:
            WireError: it is not a payload of this neck, or is written after a frame that is not
                here.
        """
        return decode_latent(encoded, self._spec, self._tables, limits, reader, sequence)
