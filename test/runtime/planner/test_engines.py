"""A planner of devices whose engines take minutes to build: what is built now, the best later."""

from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from codesign_ros.cost.profile import profile_network
from codesign_ros.runtime.device import Device, Role
from codesign_ros.runtime.planner.engine_wishes import form_of
from codesign_ros.runtime.planner.registry import Registry
from codesign_ros.runtime.planner.runtime import PlannerRuntime
from codesign_ros.runtime.planner.settings import PlannerSettings
from codesign_ros.types.errors import CodesignError
from codesign_ros.types.forms import BRANCH_STRUCTURES, HalfForm, Merge, Structure
from support.planner import CODECS, FRAME_CODECS, ROBOT, beat_of, profile
from support.planning import ranked

RATE_BPS = 2e7


class World:
    """A planner with a head and a tail that build engines ahead; nothing is built."""

    def __init__(self, bundle, network_profile=None, **changes):
        self.last = bundle.last_cut
        self.planner = PlannerRuntime(
            bundle,
            {},
            PlannerSettings(codecs=CODECS, frame_codecs=FRAME_CODECS, **changes),
            Registry(silence_limit_s=10.0),
            network_profile or (lambda: None),
        )
        common = {"robot": ROBOT, "state": "active", "model_id": bundle.model_id, "engines": {}}
        self.head = Device(
            node="/robot/head", role=Role.HEAD, profile=profile(bundle, 0.4, "head"),
            link_bps=RATE_BPS, **common,
        )  # fmt: skip
        self.tail = Device(
            node="/robot/tail", role=Role.TAIL, profile=profile(bundle, 0.04, "tail"), **common
        )
        self.now_s = 0.0
        self.announce()

    @property
    def plan(self):
        return self.planner.plans.get(ROBOT)

    def announce(self):
        return [self.planner.hear(device, self.now_s) for device in (self.head, self.tail)]

    def lead(self, **force):
        """Solve as it is due, adopt, and return the orders that devices get."""
        self.now_s += 1.0
        for robot, reason, optional in self.planner.due(self.now_s):
            plan = self.planner.next_plan(
                robot, reason, self.now_s, **{"optional": optional, **force}
            )
            if plan is not None:
                self.planner.adopt(plan, self.now_s)
        return self.planner.take_builds(ROBOT, self.now_s)

    def build(self, orders, built=True):
        """Let devices do as they were told, and say so."""
        for order in orders:
            name = "head" if order.node == "/robot/head" else "tail"
            device = getattr(self, name)
            setattr(self, name, replace(device, engines={**device.engines, order.form: built}))
        return self.announce()

    def is_there(self, plan, before=None):
        """Whether both devices have what a plan needs: built, or loaded for the one before."""
        for device in (self.head, self.tail):
            form = form_of(plan, device.role, self.last)
            if before is not None and form == form_of(before, device.role, self.last):
                continue
            warm = HalfForm(self.last)
            is_warm = device.role is Role.HEAD and form == warm
            if not (form is None or is_warm or device.engines is None or device.engines.get(form)):
                return False
        return True


@pytest.fixture
def world(tiny_bundle):
    return World(tiny_bundle)


def choice(plan):
    return plan.cut, plan.head_structure, plan.tail_structure, plan.precision, plan.codec


def test_first_what_is_built_then_the_best(world):
    best = world.planner.solve(ROBOT, world.planner.settings)
    orders = world.lead()
    # The head keeps the whole network warm: it is all that there is.
    assert (world.plan.cut, world.plan.served_by) == (world.last, "")
    assert world.plan.server_available
    gain_ms = 1e3 * (world.plan.latency_s - best.plan.latency_s)
    wanted = f"cut {best.plan.cut} S3 fp32"
    expected = [f"{wanted} of /robot/tail is being built (saves {gain_ms:.1f} ms)"]
    if best.plan.cut > 0:
        expected = [
            f"{wanted} of /robot/head, {wanted} of /robot/tail are being built "
            f"(saves {gain_ms:.1f} ms)"
        ]
    assert world.plan.reason.split("; ")[2:] == expected
    assert {order.node for order in orders} >= {"/robot/tail"}
    for order in orders:
        assert choice(order.plan) == choice(best.plan)
        assert (order.plan.robot, order.plan.model_id) == (ROBOT, world.head.model_id)
    assert world.planner.building(ROBOT)

    news = world.build(orders)
    assert f"tail /robot/tail built {wanted}" in news
    assert world.lead() == []
    assert choice(world.plan) == choice(best.plan)
    assert world.plan.reason == "; ".join(filter(None, news))
    assert world.planner.building(ROBOT) == ""


def test_each_engine_is_asked_for_once(world):
    orders = world.lead()
    assert orders
    for _ in range(3):
        world.planner.request(ROBOT, "link", world.now_s, optional=True)
        assert world.lead() == []
    # One that could not be asked is asked again, with the next solve.
    world.planner.not_asked(orders[-1])
    world.planner.request(ROBOT, "link", world.now_s, optional=True)
    assert world.lead() == orders[-1:]


def test_a_device_that_starts_anew_is_asked_again(world):
    tails = [order for order in world.lead() if order.node == "/robot/tail"]
    world.tail = replace(world.tail, session=1)
    assert world.planner.hear(world.tail, world.now_s) == "tail /robot/tail started anew"
    assert world.lead() == tails


def test_an_engine_that_is_gone_is_asked_for_again(world):
    orders = world.lead()
    world.build(orders)
    world.lead()
    assert world.plan.served_by
    world.tail = replace(world.tail, state="inactive")
    world.announce()
    world.lead()
    # It comes back, but somebody emptied its cache.
    world.tail = replace(world.tail, state="active", engines={})
    world.announce()
    assert world.lead() == [order for order in orders if order.node == "/robot/tail"]
    assert world.plan.cut == world.last


def test_what_takes_too_long_is_said_and_asked_for_again(world):
    orders = world.lead()
    limit_s = world.planner.settings.build_timeout_s
    heard_s = world.now_s + limit_s
    world.planner.hear(world.head, heard_s)
    world.planner.hear(world.tail, heard_s)
    assert world.planner.tick(heard_s) == []
    said = world.planner.tick(heard_s + 1.0)
    assert f"/robot/tail has not built cut {orders[-1].form[0]} S3 fp32 in {limit_s:.0f} s" in said
    world.now_s = heard_s + 1.0
    assert world.lead() == orders


def test_what_cannot_be_built_is_not_planned(world):
    best = world.planner.solve(ROBOT, world.planner.settings).plan
    news = world.build(world.lead(), built=False)
    assert f"tail /robot/tail could not build cut {best.cut} S3 fp32" in news
    refused = form_of(best, Role.TAIL, world.last)
    orders = world.lead()
    solution = world.planner.solve(ROBOT, world.planner.settings)
    assert form_of(solution.plan, Role.TAIL, world.last) != refused
    assert refused not in [order.form for order in orders]
    assert any("/robot/tail could not build" in note for note in world.planner.notes(ROBOT))


def test_nothing_is_built_for_a_little(tiny_bundle):
    world = World(tiny_bundle, switch_gain=1.0)
    assert world.lead() == []
    assert world.plan.cut == world.last
    assert "being built" not in world.plan.reason


def test_the_plan_in_force_is_built_whatever_a_device_says(world):
    world.build(world.lead())
    world.lead()
    served = world.plan
    assert served.served_by
    # The engines are loaded; that their files are gone changes nothing.
    world.head, world.tail = (replace(d, engines={}) for d in (world.head, world.tail))
    assert "tail /robot/tail has no more" in "".join(filter(None, world.announce()))
    assert world.lead() == []
    assert world.plan == served


def test_without_anything_built_that_serves_the_old_plan_stays(tiny_bundle):
    world = World(tiny_bundle, lambda_1=0.0)
    free = world.planner.solve(ROBOT, world.planner.settings).plan
    world.planner.settings = replace(world.planner.settings, deadline_s=1.01 * free.latency_s)
    with pytest.raises(CodesignError, match=r"being built; of what is built, .* the deadline"):
        world.lead()
    orders = world.planner.take_builds(ROBOT, world.now_s)
    assert orders
    world.build(orders)
    assert world.lead() == []
    assert choice(world.plan) == choice(free)


def test_a_heartbeat_keeps_what_was_announced_of_engines_and_memory(world):
    world.head = replace(
        world.head,
        memory_bytes=10**9,
        engines={HalfForm(1, precision="fp16"): True},
        precisions=("fp32", "fp16"),
        power_mode="15W",
        dla_cores=2,
    )
    world.announce()
    assert world.planner.heartbeat(beat_of(world.head), 1.0) is None
    assert world.planner.registry.head_of(ROBOT) == world.head


def test_devices_that_make_engines_at_once_are_planned_with_as_ever(tiny_bundle):
    world = World(tiny_bundle)
    world.head, world.tail = (replace(d, engines=None) for d in (world.head, world.tail))
    world.announce()
    best = world.planner.solve(ROBOT, world.planner.settings).plan
    assert world.lead() == []
    assert choice(world.plan) == choice(best)
    # One of the two may be such a device.
    world.tail = replace(world.tail, engines={})
    world.planner.hear(replace(world.tail, state="inactive"), world.now_s)
    world.announce()
    assert {order.node for order in world.lead()} == {"/robot/tail"}


def test_precisions_that_a_device_lacks_are_not_offered(tiny_bundle):
    world = World(tiny_bundle, precisions=("fp32", "fp16"))
    world.head = replace(world.head, precisions=("fp16", "int8-tensor"))
    world.tail = replace(world.tail, precisions=("fp32",))
    world.announce()
    plan = world.planner.solve(ROBOT, world.planner.settings).plan
    # Only a frame sent as it is needs nothing of the head.
    assert (plan.cut, plan.precision) == (0, "fp32")
    world.tail = replace(world.tail, precisions=("int8-channel",))
    world.announce()
    with pytest.raises(CodesignError, match="/robot/head has not fp32: not offered"):
        world.planner.solve(ROBOT, world.planner.settings)


def test_memory_is_counted_where_a_device_tells_its_own(tiny_bundle):
    asked = []

    def network_profile():
        asked.append(None)
        return profile_network(tiny_bundle.network())

    world = World(tiny_bundle, network_profile)
    devices = world.planner.registry.devices
    world.planner.costs.get_ready("measured", devices)
    world.planner.solve(ROBOT, world.planner.settings)
    assert asked == []  # torch takes seconds to import
    known = profile_network(tiny_bundle.network())
    cut = world.last // 2
    enough = known.head_memory_bytes(cut, Structure.S3, "fp32")
    world.head = replace(world.head, memory_bytes=int(enough))
    world.announce()
    world.planner.costs.get_ready("measured", world.planner.registry.devices)
    assert asked == [None]
    solution = world.planner.solve(ROBOT, world.planner.settings)
    assert solution.device_only is None
    for row in ranked(solution):
        chosen = row.candidate
        need = known.head_memory_bytes(chosen.cut, chosen.head_structure, "fp32")
        assert need <= int(enough)
    assert any("/robot/head has" in note for note in solution.problem.tables.notes)
    assert asked == [None]


def test_memory_is_not_counted_where_the_network_cannot_be_read(tiny_bundle):
    def network_profile():
        raise ImportError("no torch here")

    world = World(tiny_bundle, network_profile)
    world.head = replace(world.head, memory_bytes=1)
    world.announce()
    world.planner.costs.get_ready("measured", world.planner.registry.devices)
    solution = world.planner.solve(ROBOT, world.planner.settings)
    assert solution.device_only is not None
    notes = solution.problem.tables.notes
    assert "what memory the halves need is not known on this machine: no torch here" in notes


FORM = st.builds(
    HalfForm,
    st.integers(0, 16),
    st.sampled_from(BRANCH_STRUCTURES),
    st.just(Merge.FOLD),
    st.just("fp32"),
)
ENGINES = st.one_of(st.none(), st.dictionaries(FORM, st.booleans(), max_size=40))
STEPS = st.lists(
    st.tuples(ENGINES, ENGINES, st.sampled_from([1e5, 2e6, RATE_BPS, 1e9])), min_size=1, max_size=4
)


@settings(
    deadline=None, max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(steps=STEPS)
def test_what_is_put_in_force_is_there_and_never_refused(tiny_bundle, steps):
    """Whatever devices build, lose and refuse, in whatever order."""
    world = World(tiny_bundle)
    for head, tail, rate_bps in steps:
        before = world.plan
        world.head = replace(world.head, engines=head, link_bps=rate_bps)
        world.tail = replace(world.tail, engines=tail)
        world.announce()
        try:
            orders = world.lead(optional=False)
        except CodesignError:
            continue  # the head refuses even the whole network, or what is left is not built
        if world.plan is None:
            continue  # as before: that a refusal is withdrawn, with nothing built, is no news
        for device in (world.head, world.tail):
            form = form_of(world.plan, device.role, world.last)
            assert (device.engines or {}).get(form) is not False
        assert world.is_there(world.plan, before)
        for order in orders:
            device = world.head if order.node == "/robot/head" else world.tail
            assert form_of(order.plan, device.role, world.last) == order.form
            assert order.form not in device.engines


@settings(
    deadline=None, max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(refused=st.sets(FORM, max_size=60))
def test_building_comes_to_an_end_with_the_best(tiny_bundle, refused):
    """Devices that build what they are told, but for what they cannot, end with the best."""
    world = World(tiny_bundle, switch_gain=0.0)
    refused -= {HalfForm(world.last)}
    orders = world.lead()
    asked = set()
    while orders:
        keys = {(order.node, order.form) for order in orders}
        assert not keys & asked  # each once
        asked |= keys
        for order in orders:
            world.build([order], built=order.form not in refused)
        orders = world.lead()
    best = world.planner.solve(ROBOT, world.planner.settings).plan
    assert choice(world.plan) == choice(best)
    assert world.is_there(world.plan)
