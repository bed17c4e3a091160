"""The arrows between the rooms, read from the imports.

A room may import the rooms that are listed for it, the shared modules at the top of the package,
and nothing else of the package.
"""

import ast
import itertools
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "codesign_ros"

# Modules at the top of the package; a room may import those that are below it.
SHARED = ("types", "preprocess", "postprocess", "drawing", "bundle", "resources")

# What each room may import of the package. Shared modules are rooms of one file.
MAY_IMPORT = {
    "types": (),
    "resources": ("types",),
    "hardware": ("types",),
    "preprocess": ("types",),
    "postprocess": ("types", "preprocess"),
    "drawing": ("types",),
    "wire": ("types",),
    "models": ("types",),
    "cost": ("types", "models"),
    "planning": ("types", "cost"),
    "bundle": ("types", "cost", "models"),
    "engines": ("types", "hardware", "models", "bundle", "preprocess", "postprocess"),
    "data": ("types", "resources", "preprocess"),
    "runtime": (
        "types", "hardware", "preprocess", "postprocess", "bundle", "wire", "engines", "cost",
        "planning",
    ),
    "nodes": (*SHARED, "hardware", "wire", "engines", "cost", "planning", "data", "runtime"),
    "simulation": (*SHARED, "wire", "models", "engines", "cost", "planning", "runtime"),
    "evaluation": (
        *SHARED, "hardware", "wire", "models", "engines", "cost", "planning", "data", "runtime",
        "nodes", "simulation",
    ),
    "explain": (*SHARED, "models", "engines", "data"),
    "training": (
        *SHARED, "wire", "models", "engines", "cost", "planning", "data", "runtime", "evaluation",
    ),
    "cli": (
        *SHARED, "hardware", "wire", "models", "engines", "cost", "planning", "data", "runtime",
        "nodes", "simulation", "evaluation", "explain", "training",
    ),
}  # fmt: skip

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
ROS_MESSAGES = ("std_msgs", "sensor_msgs", "diagnostic_msgs", "lifecycle_msgs", "rcl_interfaces",
                "builtin_interfaces", "vision_msgs")  # fmt: skip

# What stands on numpy, the standard library and these modules alone.
LEAN = {
    "types": (),
    "hardware": ("hardware",),
    "cost.roofline": ("types",),
    "cost.link": ("types",),
    "cost.tables": ("types",),
    "planning": ("types", "cost.link", "cost.roofline", "cost.tables", "planning"),
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
    """First name below the package; empty for the package itself."""
    return module.partition(".")[2].partition(".")[0]


def own(module):
    return module.partition(".")[0] == "codesign_ros"


def external(imports):
    """Top names of what is neither of the package nor of the standard library."""
    tops = {module.partition(".")[0] for module in imports}
    return tops - set(sys.stdlib_module_names) - {"codesign_ros", "__future__"}


def within(module, names):
    return any(module == name or module.startswith(f"{name}.") for name in names)


def test_every_directory_is_a_room_that_says_what_it_is():
    rooms = {path.parent for path in FILES}
    for room in rooms:
        init = room / "__init__.py"
        assert init.exists(), f"{room} has no __init__.py: it would not be installed"
        assert ast.get_docstring(ast.parse(init.read_text(encoding="utf-8"))), (
            f"{init} says nothing"
        )
    named = {path.name for path in PACKAGE.iterdir() if path.is_dir() and path in rooms}
    assert named <= MAY_IMPORT.keys(), "a new room: name its arrows here and in the design"


@pytest.mark.parametrize("module", IMPORTS)
def test_arrows_between_rooms(module):
    room = room_of(module)
    if not room:
        return
    allowed = {room, *MAY_IMPORT[room]}
    for imported in filter(own, IMPORTS[module]):
        if within(imported, ("codesign_ros.msg", "codesign_ros.srv")):
            continue  # held below
        target = room_of(imported)
        assert not target or target in allowed, f"{module} imports {imported}"


def test_no_two_rooms_stand_on_each_other():
    arrows = {
        (room_of(module), room_of(imported))
        for module, imports in IMPORTS.items()
        for imported in filter(own, imports)
    }
    rooms = {room for arrow in arrows for room in arrow if room}
    # Everything that can be reached, by Warshall's closure.
    reach = {(a, b) for a, b in arrows if a and b and a != b}
    for middle, start, end in itertools.product(rooms, repeat=3):
        if (start, middle) in reach and (middle, end) in reach:
            reach.add((start, end))
    assert not {room for room in rooms if (room, room) in reach}


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
