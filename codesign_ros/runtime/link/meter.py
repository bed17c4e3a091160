"""What a head knows of its link: delay, rate, how sure it is of it, and what to probe next."""

from __future__ import annotations

import statistics
from collections import deque
from collections.abc import Hashable
from dataclasses import dataclass

from codesign_ros.runtime.link.estimate import LinkEstimator
from codesign_ros.runtime.link.probing import Prober
from codesign_ros.runtime.link.transfers import Transfer, TransferBook

# Up to so many bytes a transfer shows the delay, and nothing of the rate.
_TINY_BYTES = 256
# Tiny transfers on a free link that are remembered, and the share of them that sets the jitter.
_DELAYS, _JITTER_SHARE = 20, 0.8
# Large transfers in a row after which the rate must have been known before it is announced at
# first, and later: one disturbance would be taken for the link.
_FIRST_SURE, _SURE = 3, 2
_SAMPLES = 64
# No delay is less [s]: 0 says that it is not known.
_LEAST_DELAY_S = 1e-4
# The rate is known where it lies within so much either way, as share of it, with 80 %.
_KNOWN_SPREAD = 0.25
# Once probes have learned what they may, or so many large transfers have crossed, it is announced
# at first with this range too: to know it within a factor of 1.6 is better than not at all.
_BOUNDED_SPREAD, _MANY = 0.5, 40
# Share of the rates in doubt that are believed to be below the true one.
_CAUTIOUS = 0.3
# Probability that the burst is less than what is sure of it; where it lies within so much, it is as
# sure as the hypotheses are far apart.
_LEAST_BURST, _NEAR_BURSTS = 0.1, 1.6
# Standard deviations in that range to either side of the middle, for a normal distribution.
_SIGMAS = 1.2816
# A large probe without an answer after so long is lost; it holds the next one up no longer [s].
_PROBE_PATIENCE_S = 3.0
# It is lost, too, once what was sent so much later is answered, for answers come in order [s].
_OVERTAKES_S = 0.05
# Frames flow as long as the newest is not older [s].
_FLOWING_S = 2.0
# A large probe that took less than this share of the least that two others would have taken, or
# that three or more would, and so much less [s], met a faster link: little else makes one early.
# Others are those of less than twice its size and of more than half of it.
_FASTER_SHARES, _FASTER_S, _OF_ITS_SIZE, _REMEMBERED = (0.0, 0.0, 0.5, 0.7), 5e-3, 2.0, 4


@dataclass(frozen=True)
class LinkTime:
    """What an embedding took from the start of sending to the answer, less the tail's time [s].

    Attributes:
        total_s: all of it, both ways.
        waited_s: the part that it waited for embeddings before it.
    """

    total_s: float = 0.0
    waited_s: float = 0.0


class LinkMeter:
    """Takes in transfers; says what the link is like and which probes should be sent.

    Times are of one clock of the robot. Not thread safe.
    """

    def __init__(self) -> None:
        self.samples: deque[Transfer] = deque(maxlen=_SAMPLES)
        self.bandwidth_bps = 0.0
        self.error_bps = 0.0
        self._book = TransferBook()
        self._delays_s: deque[float] = deque(maxlen=_DELAYS)
        # What frames took beside their way through the link's queue and bucket [s].
        self._besides_s: deque[float] = deque(maxlen=_DELAYS)
        self._estimator = LinkEstimator()
        self._prober = Prober()
        self._least_s = self._jitter_s = 0.0
        self._sure = self._refuted = self._judged = 0
        self._until_s = float("-inf")
        self._queued = False
        self._frame_bytes, self._frame_s = 0, float("-inf")
        # The large probe that is out, and when it was sent [s].
        self._probe: tuple[Hashable, float] | None = None
        self._doubts = False
        # Payload and time on the link of the newest large probes since the rate was learned.
        self._paces: deque[tuple[int, float]] = deque(maxlen=_REMEMBERED)

    @property
    def delay_s(self) -> float:
        """What a frame spends beside its way through queue and bucket [s]; 0 = not known yet.

        A tiny transfer shows it, but one that is away while the robot computes waits for the
        processor when it is back, all the more under a quota; the answer to a frame finds it idle
        where frames go one at a time. So frames have a say, as far as it lies between what tiny
        transfers took at least and what they usually took: what is left of a large frame's time
        is as wrong as the rate. It may be less by what a burst would spare that is likely and not
        sure: then frames do not wait for it, and ``sure_burst_bytes`` does not say so.
        """
        if not self._delays_s:
            return 0.0
        usual_s = statistics.median(self._delays_s)
        if len(self._besides_s) < _FIRST_SURE:
            return usual_s
        spared_s = 0.0
        if self.bandwidth_bps:
            spared_s = 8 * (self.burst_bytes - self.sure_burst_bytes) / self.bandwidth_bps
        least_s = max(_LEAST_DELAY_S, self._least_s - spared_s)
        return min(usual_s, max(least_s, statistics.median(self._besides_s)))

    @property
    def burst_bytes(self) -> float:
        """What passes at once after a pause, most likely no more [bytes]; 0 = not known yet."""
        return self._estimator.burst_bytes if self.bandwidth_bps else 0.0

    @property
    def sure_burst_bytes(self) -> float:
        """The same, most likely no less, but for half a step between hypotheses [bytes]."""
        least, usual, most = map(
            self._estimator.burst_quantile_bytes, (_LEAST_BURST, 0.5, 1 - _LEAST_BURST)
        )
        sure = usual if most <= _NEAR_BURSTS * least else least
        return sure if self.bandwidth_bps else 0.0

    @property
    def learning(self) -> bool:
        """The rate was never known, or is in doubt, and the next probe should not wait."""
        return not self._is_known and self._probe is None and self._prober.may_learn

    @property
    def doubts(self) -> bool:
        """The rate is being learned anew."""
        return self._doubts and self._prober.may_learn

    @property
    def _is_known(self) -> bool:
        return self.bandwidth_bps > 0 and not self._doubts

    def doubt(self) -> None:
        """Note that the link may be another now: learn the rate anew, from small probes up.

        Until it is sure again; what was known is held meanwhile.
        """
        self._doubts, self._probe, self._sure = True, None, 0
        self._paces.clear()
        self._estimator.doubt()
        self._prober.begin_anew()

    def believe(self) -> None:
        """Note that what is known of the rate must do."""
        self._doubts = False

    def sent(self, key: Hashable, payload_bytes: int, now_s: float, is_frame: bool) -> None:
        """Note that an embedding goes to the link."""
        self._book.sent(key, payload_bytes, now_s, is_frame)
        if is_frame:
            self._frame_bytes, self._frame_s = payload_bytes, now_s

    def answered(self, key: Hashable, now_s: float, remote_s: float) -> LinkTime:
        """Note the answer to one.

        Args:
            key: which one.
            now_s: when it came [s].
            remote_s: what the tail says it spent on it [s].

        Returns:
            Its time on the link; 0 if it is not known when it was sent.
        """
        transfer = self._book.answered(key, now_s, remote_s)
        if transfer is None:
            return LinkTime()
        assert transfer.arrived_s is not None
        # The news of those before took the delay to come here; the link was free before that.
        free_s = self._until_s - self._least_s
        waited_s = max(0.0, min(free_s, transfer.arrived_s) - transfer.started_s)
        self._until_s = max(self._until_s, transfer.arrived_s)
        self._queued |= transfer.is_frame and waited_s > 0
        for each in self._book.take_complete(now_s):
            self._add(each)
        self._note_probe(key, transfer)
        return LinkTime(transfer.duration_s, waited_s)

    def probes(self, now_s: float) -> list[int]:
        """Payloads of the probes that should be sent now [bytes]; ask again about twice a second.

        While ``learning``, ask as soon as the answer to the large one is there.
        """
        known = self._is_known
        sizes = [self._prober.tiny_bytes(self._estimator, known, now_s)]
        waiting = self._probe is not None and now_s - self._probe[1] < _PROBE_PATIENCE_S
        if self._delays_s and not waiting and not self._queued:
            shows, sure = self._sure > 0, self._sure >= _SURE
            frame_bytes = self._frame_bytes if now_s - self._frame_s < _FLOWING_S else 0
            sizes.append(
                self._prober.large_bytes(self._estimator, known, shows, sure, frame_bytes, now_s)
            )
        self._queued = False
        return [size for size in sizes if size]

    def probe_sent(self, key: Hashable, payload_bytes: int, now_s: float) -> None:
        """Note that a probe is on its way to the link."""
        if payload_bytes > _TINY_BYTES:
            self._probe = key, now_s

    def _note_probe(self, key: Hashable, transfer: Transfer) -> None:
        """Note that an answer is to the large probe, or to what was sent after it: it is lost."""
        if self._probe is None:
            return
        large, sent_s = self._probe
        if key == large and self._sure >= _SURE:
            self._doubts = False
        if key == large or transfer.started_s > sent_s + _OVERTAKES_S:
            self._probe = None
        # Before, what met an empty bucket is no measure for what meets a full one.
        if key == large and self._is_known and self._estimator.has_filled:
            self._compare(transfer)

    def _compare(self, probe: Transfer) -> None:
        """Doubt the rate where a large probe was much faster than those before it.

        The estimate must allow for a burst that is not as supposed, and would wait for more probes,
        which are seconds apart; what others took, less or more what their other size does at the
        rate as it was, can be compared at once.
        """
        size, took_s = probe.payload_bytes, probe.duration_s
        others_s = [each_s - 8 * (each - size) / self.bandwidth_bps for each, each_s in self._paces
                    if max(each, size) < _OF_ITS_SIZE * min(each, size)]  # fmt: skip
        least_s = min(others_s, default=0.0)
        share = _FASTER_SHARES[min(len(others_s), len(_FASTER_SHARES) - 1)]
        if took_s < min(share * least_s, least_s - _FASTER_S):
            self.doubt()
        else:
            self._paces.append((size, took_s))

    def _add(self, transfer: Transfer) -> None:
        """Take in a transfer, in the order of sending."""
        self.samples.append(transfer)
        tiny = transfer.payload_bytes <= _TINY_BYTES
        if tiny and transfer.alone and transfer.arrived_s is not None:
            self._delays_s.append(transfer.duration_s)
            self._least_s = min(self._delays_s)
            ordered_s = sorted(self._delays_s)
            likely_s = ordered_s[int(_JITTER_SHARE * (len(ordered_s) - 1))]
            self._jitter_s = 2 * (likely_s - self._least_s)
        if self._delays_s:
            least_s, jitter_s = self._least_s, self._jitter_s
        else:
            # Frames fill the link from the start. It matters little then: what shows the rate is
            # the time between their arrivals.
            arrived = [each for each in self.samples if each.arrived_s is not None]
            least_s = min((each.duration_s for each in arrived), default=0.0)
            jitter_s = 0.0
        # The time of what was sent again says when it was missed, and nothing of the rate.
        arrived_s = transfer.arrived_s if transfer.in_order else None
        beside_s = self._estimator.add(
            transfer.payload_bytes, transfer.started_s, arrived_s, least_s, jitter_s
        )
        if transfer.is_frame and self.bandwidth_bps and beside_s is not None:
            self._besides_s.append(beside_s)
        if not tiny:
            self._judge()

    def _judge(self) -> None:
        """Work out rate and error after a transfer that may show the rate.

        Before the rate has shown, nothing is said of it: all that is known is a bound. When it is
        lost later, embeddings so small that they do not show it, the last one is held while it is
        possible, and its error says how little is known. What is not possible any more gives way to
        what the rate most likely is, where the link has become faster with some caution: what has
        passed so early says that it is no slower, and hardly how fast it is.
        """
        estimator = self._estimator
        spread = estimator.spread
        self._judged += 1
        learns = self._prober.may_learn and self._judged < _MANY
        can_wait = self.bandwidth_bps > 0 or learns
        enough = spread <= (_KNOWN_SPREAD if can_wait else _BOUNDED_SPREAD)
        self._sure = self._sure + 1 if enough else 0
        possible = not self.bandwidth_bps or estimator.is_possible(self.bandwidth_bps)
        self._refuted = 0 if possible else self._refuted + 1
        if self._sure >= (_SURE if self.bandwidth_bps else _FIRST_SURE):
            self.bandwidth_bps = estimator.quantile_bps(
                0.5 if spread <= _KNOWN_SPREAD else _CAUTIOUS
            )
        elif self._refuted >= _SURE:
            low_bps, high_bps = map(estimator.quantile_bps, (_CAUTIOUS, 0.5))
            self.bandwidth_bps = min(max(self.bandwidth_bps, low_bps), high_bps)
        self.error_bps = spread / _SIGMAS * self.bandwidth_bps
