"""What can be set on a head while it runs."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field

from codesign_ros.pixels.boxes import Selection


@dataclass
class HeadSettings:
    """What can be set on a head while it runs.

    Attributes:
        queue_depth: frames that may wait for the head; when one more comes, the oldest is dropped.
        deadline_s: how long after a frame's stamp its answer may come at most, on top of twice the
            time that the link needs for it by its measured rate [s]; after its arrival where the
            stamp cannot be right. The usual time of answers sets a shorter one, and is what a frame
            has in any case that was late before it was sent.
        queue_bytes: what they may take in memory [bytes]; beyond, the oldest is dropped too, but
            never the newest.
        slowdown: emulated: the device is so many times slower than this machine; 0 or 1 = off.
        selection: which boxes of a detector are answers.
        cores: what the head may use of the machine's processors [cores]; None = not known.
        cpu_s: tells how much was used of them so far, by whoever shares them [s].
        paused: frames that come are answered as dropped; what was taken before is finished.
    """

    queue_depth: int = 3
    queue_bytes: int = 1 << 29
    deadline_s: float = 1.0
    slowdown: float = 0.0
    selection: Selection = field(default_factory=Selection)
    cores: float | None = None
    cpu_s: Callable[[], float] = time.process_time
    paused: bool = False

    @property
    def scarce_cores(self) -> float | None:
        """``cores`` where all that is done for frames shares one at most [cores]; else None."""
        return self.cores if self.cores is not None and self.cores <= 1 else None
