"""The arrows between the rooms, read from the imports.

``ARROWS`` names exactly those that exist: an import that it does not name fails here, and so does
an arrow that it names and nobody uses. Rooms stand in it from the ground up, so that no arrow can
point upward.
"""

import ast
import sys
from collections import Counter
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "codesign_ros"

# What each room imports of the package, rooms from the ground up. A room is a folder, or a module
# at the top of the package; the folders inside ``runtime`` are rooms of their own.
_ARROWS = {
    "types": "",
    "jpeg": "",
    "resources": "types",
    "console": "types",
    "launching": "types",
    "hardware": "",
    "wire": "types jpeg",
    "pixels": "types jpeg",
    "mine": "types",
    "models": "types",
    "cost": "types models",
    "data": "types jpeg resources pixels mine",
    "planning": "types cost",
    "neck_file": "types wire",
    "bundle": "types wire models cost neck_file",
    "engines": "types hardware pixels models bundle",
    "paper": "types console models cost planning",
    "explain": "types wire pixels mine models data bundle",
    "runtime.engines": "types hardware bundle engines",
    "runtime": "types jpeg wire pixels cost bundle engines runtime.engines",
    "runtime.link": "",
    "runtime.head": "types hardware wire pixels bundle runtime.engines runtime.link runtime",
    "runtime.tail": "types wire pixels bundle runtime.engines runtime",
    "runtime.planner": "types cost planning bundle runtime",
    "profiling": "types hardware wire pixels cost bundle engines runtime",
    "nodes": (
        "types resources hardware wire pixels cost data planning bundle engines runtime.engines "
        "runtime runtime.head runtime.tail runtime.planner profiling"
    ),
    "simulation": "types planning runtime.head runtime.link runtime.planner",
    "evaluation": (
        "types console wire pixels models cost data planning bundle engines runtime runtime.link "
        "runtime.head runtime.planner simulation"
    ),
    "whatif": "types console hardware cost planning bundle engines runtime profiling",
    "overview": "types console runtime",
    "doctor": "types console hardware bundle engines runtime nodes",
    "testbed": "types resources hardware bundle runtime nodes evaluation",
    "demo": (
        "types resources console pixels data bundle engines runtime runtime.planner nodes "
        "simulation evaluation testbed"
    ),
    "training": "types console wire pixels mine models cost data neck_file bundle evaluation",
    "cli": (
        "types resources console wire pixels mine models cost data planning bundle engines "
        "paper explain nodes runtime runtime.planner evaluation whatif simulation overview doctor "
        "testbed demo training"
    ),
}
ARROWS = {room: tuple(targets.split()) for room, targets in _ARROWS.items()}

# Rooms inside a room.
INNER_ROOMS = ("runtime.engines", "runtime.link", "runtime.head", "runtime.tail", "runtime.planner")

# Files that one can look over at a glance.
MOST_FILES = 18

TORCH_ROOMS = ("models", "explain", "training", "engines")
ROS_ROOMS = ("nodes",)
ROS = (
    "rclpy",
    "codesign_ros.msg",
    "codesign_ros.srv",
    "launch",
    "launch_ros",
    "ament_index_python",
)
ROS_MESSAGES = ("std_msgs", "std_srvs", "sensor_msgs", "diagnostic_msgs", "lifecycle_msgs",
                "rcl_interfaces", "builtin_interfaces", "vision_msgs")  # fmt: skip

# What stands on numpy, the standard library and these modules alone.
LEAN = {
    "types": ("types",),
    "hardware": ("hardware",),
    "cost.roofline": ("types",),
    "cost.half_times": ("types",),
    "cost.link": ("types",),
    "cost.lateness": ("types", "cost.link"),
    "cost.tables": ("types",),
    "planning": (
        "types",
        "cost.lateness",
        "cost.link",
        "cost.roofline",
        "cost.tables",
        "planning",
    ),
}


def module_name(path):
    parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports_of(path):
    """All modules that a file imports, wherever in the file; under TYPE_CHECKING too."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: a relative import"
            # `from package import module` imports the module.
            found.add(node.module)
            for alias in node.names:
                path_of = PACKAGE.parent / node.module.replace(".", "/") / alias.name
                if path_of.is_dir() or path_of.with_suffix(".py").exists():
                    found.add(f"{node.module}.{alias.name}")
    return found


FILES = sorted(path for path in PACKAGE.rglob("*.py") if "__pycache__" not in path.parts)
IMPORTS = {module_name(path): imports_of(path) for path in FILES}


def room_of(module):
    """Room of a module as ``ARROWS`` names it; empty for the package itself."""
    room = ".".join(module.split(".")[1:3])
    return room if room in INNER_ROOMS else room.partition(".")[0]


def own(module):
    return module.partition(".")[0] == "codesign_ros"


def external(imports):
    """Top names of what is neither of the package nor of the standard library."""
    tops = {module.partition(".")[0] for module in imports}
    return tops - set(sys.stdlib_module_names) - {"codesign_ros", "__future__"}


def within(module, names):
    return any(module == name or module.startswith(f"{name}.") for name in names)


def arrows_between(imports):
    """All (room, other room) of which a module of the first imports one of the second."""
    return {
        (room_of(module), room_of(imported))
        for module, names in imports.items()
        for imported in names
        if own(imported) and not within(imported, ("codesign_ros.msg", "codesign_ros.srv"))
        if room_of(module) and room_of(imported) and room_of(module) != room_of(imported)
    }


def wrong_arrows(named, used):
    """What is wrong with a list of arrows, a line each: unused, not named, or upward."""
    order = list(named)
    pairs = {(room, target) for room, targets in named.items() for target in targets}
    wrong = [f"{a} -> {b} is named and nobody uses it" for a, b in sorted(pairs - used)]
    wrong += [f"{a} -> {b} exists and is not named" for a, b in sorted(used - pairs)]
    return wrong + [
        f"{a} -> {b} points upward" for a, b in sorted(pairs) if order.index(b) >= order.index(a)
    ]


def test_every_directory_is_a_room_that_says_what_it_is():
    for folder in {path.parent for path in FILES}:
        init = folder / "__init__.py"
        assert init.exists(), f"{folder} has no __init__.py: it would not be installed"
        assert ast.get_docstring(ast.parse(init.read_text(encoding="utf-8"))), (
            f"{init} says nothing"
        )
    assert {room_of(module) for module in IMPORTS} - {""} == set(ARROWS)


def test_no_folder_is_crowded():
    counts = Counter(path.parent for path in FILES if path.name != "__init__.py")
    assert not {str(folder): count for folder, count in counts.items() if count > MOST_FILES}


def test_the_arrows_are_exactly_those_named():
    assert not wrong_arrows(ARROWS, arrows_between(IMPORTS))


def test_an_unused_arrow_is_found():
    """The test above, tested: one arrow too many, one too few, one upward."""
    used = arrows_between(IMPORTS)
    more = {**ARROWS, "nodes": (*ARROWS["nodes"], "explain")}
    assert wrong_arrows(more, used) == ["nodes -> explain is named and nobody uses it"]
    first, *others = ARROWS["cli"]
    less = {**ARROWS, "cli": tuple(others)}
    assert wrong_arrows(less, used) == [f"cli -> {first} exists and is not named"]
    upward = {"wire": ("nodes",), "nodes": ()}
    assert wrong_arrows(upward, {("wire", "nodes")}) == ["wire -> nodes points upward"]


def test_no_two_modules_import_each_other():
    """Not even inside functions: such a pair is one module written in two files."""
    reach = {
        module: set(filter(IMPORTS.__contains__, imports)) for module, imports in IMPORTS.items()
    }
    for middle in reach:
        for start in reach:
            if middle in reach[start]:
                reach[start] |= reach[middle]
    assert not [module for module in reach if module in reach[module]]


@pytest.mark.parametrize("module", IMPORTS)
def test_only_the_nodes_know_ros(module):
    if room_of(module) not in ROS_ROOMS:
        ros = [name for name in IMPORTS[module] if within(name, ROS + ROS_MESSAGES)]
        assert not ros, f"{module} imports {ros}"


@pytest.mark.parametrize("module", IMPORTS)
def test_torch_stays_where_it_belongs(module):
    if room_of(module) not in TORCH_ROOMS:
        assert "torch" not in external(IMPORTS[module]), f"{module} imports torch"


@pytest.mark.parametrize("module", IMPORTS)
def test_nothing_is_ever_unpickled(module):
    assert not IMPORTS[module] & {"pickle", "dill", "joblib", "cloudpickle", "shelve", "marshal"}


@pytest.mark.parametrize("name", LEAN)
def test_lean_rooms_need_little(name):
    modules = [module for module in IMPORTS if within(module, [f"codesign_ros.{name}"])]
    assert modules
    allowed = [f"codesign_ros.{each}" for each in LEAN[name]]
    for module in modules:
        assert external(IMPORTS[module]) <= {"numpy"}, f"{module} imports too much"
        for imported in filter(own, IMPORTS[module]):
            assert within(imported, allowed), f"{module} imports {imported}"


def test_nodes_make_what_ros_knows_in_one_way():
    """Without it, a topic's quality of service cannot be overridden, or a defect does not show."""
    makers = {f"create_{what}" for what in (
        "publisher", "lifecycle_publisher", "subscription", "service", "client", "timer", "rate",
    )}  # fmt: skip
    uses = {
        (module_name(path), node.attr)
        for path in FILES
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Attribute) and node.attr in makers
    }
    home = "codesign_ros.nodes.wiring"
    assert {module for module, _ in uses} == {home}
    # Not by timers of rclpy: see Chores.
    unused = {f"create_{what}" for what in ("lifecycle_publisher", "rate", "timer")}
    assert {maker for _, maker in uses} == makers - unused
