"""When the robot is back on a link that was thin, on a simulated clock and link."""

from collections import deque

import pytest
from runtime.head.test_server_watch import Robot

from codesign_ros.runtime.head.ledger import Phase
from codesign_ros.runtime.link.meter import LinkMeter

STEP_S = 0.002
FAST_BPS, BURST_BYTES, QUEUE_S, QUEUE_BYTES = 20e6, 16_000, 0.4, 64_000
FRAME_S, TICK_S, REMOTE_S, TINY_BYTES, OVERHEAD_BYTES = 0.25, 0.25, 0.03, 64, 500
BEGIN_S = 30.0


class Link:
    """A token bucket with a queue behind it that drops what does not fit, whole messages."""

    def __init__(self):
        self.rate_bps = FAST_BPS
        self._tokens = float(BURST_BYTES)
        self._queue = deque()

    def send(self, what, size):
        waiting = sum(left for _, left in self._queue)
        # Of what is larger than the queue the end is lost, after the rest has passed.
        room = max(QUEUE_BYTES, self.rate_bps / 8 * QUEUE_S) + self._tokens - waiting
        fits = min(size, room)
        if fits > 0:
            self._queue.append([what if fits == size else None, fits])

    def step(self):
        """Let time pass; what has arrived."""
        self._tokens = min(BURST_BYTES, self._tokens + self.rate_bps / 8 * STEP_S)
        arrived = []
        while self._queue and self._tokens > 0:
            passed = min(self._queue[0][1], self._tokens)
            self._tokens -= passed
            self._queue[0][1] -= passed
            if self._queue[0][1] <= 0:
                arrived.append(self._queue.popleft()[0])
        return [what for what in arrived if what is not None]


class World:
    """A robot that does as HeadRuntime does, and a server that answers whatever arrives."""

    def __init__(self, frame_bytes, burst_bytes):
        self.frame_bytes, self.burst_bytes = frame_bytes, burst_bytes
        self.robot, self.link, self.meter = Robot(), Link(), LinkMeter()
        self.now_s, self.probes, self.sent_bytes = 0.0, 0, 0
        self.answers = deque()
        self.served_s = []
        self.trials_bytes = 0

    def run(self, until_s):
        while self.now_s < until_s:
            self.step()

    def step(self):
        before_s, self.now_s = self.now_s, self.now_s + STEP_S
        watch = self.robot.watch
        self.answers.extend((self.now_s + REMOTE_S, what) for what in self.link.step())
        while self.answers and self.answers[0][0] <= self.now_s:
            self.answered(self.answers.popleft()[1])
        if self.now_s // TICK_S > before_s // TICK_S and watch.is_probe_due(self.now_s):
            watch.check(self.now_s, 0.0)
            self.send_probes()
            self.try_out()
        if self._is_frame_due(before_s) and watch.helps:
            frame = self.robot.send(self.now_s, self.frame_bytes)
            self.meter.sent(frame.sequence, self.frame_bytes, self.now_s, is_frame=True)
            self.link.send(frame, self.frame_bytes)
        watch.strand_overdue(self.now_s)

    def _is_frame_due(self, before_s):
        """Between two looks at the link; the first when a small probe has shown the delay."""
        return before_s > 1.0 and (self.now_s + 0.1) // FRAME_S > (before_s + 0.1) // FRAME_S

    def send_probes(self):
        watch = self.robot.watch
        if watch.helps and self.robot.book.ledger.in_phase(Phase.REMOTE):
            return
        watch.asked(self.now_s)
        only_tiny = not watch.helps and not self.meter.learning
        for size in [TINY_BYTES] if only_tiny else self.meter.probes(self.now_s):
            self.probe(size)

    def probe(self, size):
        self.probes += 1
        self.meter.probe_sent(-self.probes, size, self.now_s)
        self.meter.sent(-self.probes, size, self.now_s, is_frame=False)
        self.link.send(self.probes, size + OVERHEAD_BYTES)
        return self.probes

    def try_out(self):
        watch = self.robot.watch
        if watch.begins_to_return(self.now_s):
            self.meter.doubt()
        elif watch.learned(self.now_s, self.meter.bandwidth_bps, is_sure=not self.meter.doubts):
            self.meter.believe()
        if size := watch.trial_bytes(self.now_s, self.burst_bytes):
            self.trials_bytes += size
            self.robot.watch.tried(self.probe(size), size, self.now_s)

    def answered(self, what):
        watch = self.robot.watch
        watch.answered(self.now_s, "")
        key = -what if isinstance(what, int) else what.sequence
        self.meter.answered(key, self.now_s, REMOTE_S)
        if isinstance(what, int):
            watch.probe_answered(what, self.now_s)
            self.try_out()
            if self.meter.learning:
                self.send_probes()
        elif what.phase is Phase.REMOTE:
            self.served_s.append(self.now_s)
            watch.took(what, self.now_s)
            self.robot.book.ledger.finish(what, None)
        else:
            watch.late(what.sequence, self.now_s)


def back_after_s(world, thin_bps, lasts_s):
    """From when the link is itself again to the first answer by the server [s]."""
    world.run(BEGIN_S)
    world.link.rate_bps = thin_bps
    world.run(BEGIN_S + lasts_s)
    assert not world.robot.watch.relies
    world.link.rate_bps = FAST_BPS
    ended_s = world.now_s
    world.run(ended_s + 10.0)
    return next(at_s for at_s in world.served_s if at_s > ended_s) - ended_s


# The moment of the end within the rhythm of trials decides, so it is moved through one.
@pytest.mark.parametrize("lasts_s", [10.0 + 0.37 * number for number in range(9)])
@pytest.mark.parametrize("frame_bytes", [20_000, 42_000])
@pytest.mark.parametrize("burst_bytes", [0.0, BURST_BYTES])
def test_on_a_link_that_was_thin_the_robot_is_back_within_two_seconds(
    frame_bytes, burst_bytes, lasts_s
):
    assert back_after_s(World(frame_bytes, burst_bytes), 0.2e6, lasts_s) < 2.0


@pytest.mark.parametrize("thin_bps", [0.1e6, 0.2e6, 0.5e6])
def test_on_a_link_that_stays_thin_the_robot_stays_alone_and_trials_leave_room(thin_bps):
    world = World(42_000, BURST_BYTES)
    world.run(BEGIN_S)
    world.link.rate_bps = thin_bps
    world.run(BEGIN_S + 5.0)
    served, tried_bytes = len(world.served_s), world.trials_bytes
    for second in range(6, 60):
        assert not world.robot.watch.relies
        world.run(BEGIN_S + second)
    assert len(world.served_s) == served
    assert 8 * (world.trials_bytes - tried_bytes) / 54 < 0.9 * thin_bps


@pytest.mark.parametrize("thin_bps", [0.5e6, 1e6, 2e6])
@pytest.mark.parametrize("frame_bytes", [42_000, 130_000, 256_000])
def test_a_link_that_became_thin_for_large_frames_is_known_soon(frame_bytes, thin_bps):
    """No frame crosses it in time, nor one as large: smaller probes show what it is like now."""
    world = World(frame_bytes, BURST_BYTES)
    world.run(BEGIN_S)
    assert world.meter.bandwidth_bps == pytest.approx(FAST_BPS, rel=0.2)
    world.link.rate_bps = thin_bps
    while world.robot.watch.relies and world.now_s < BEGIN_S + 10.0:
        world.step()
    left_s = world.now_s
    world.run(left_s + 2.5)
    assert thin_bps / 1.5 < world.meter.bandwidth_bps < 1.5 * thin_bps
