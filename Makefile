# Two commands: `make demo` and `make test` do all set-up on a fresh machine with Python 3.10-3.12,
# a C and C++ compiler and make. With a ROS 2 distribution sourced (ROS_DISTRO set) they use it; without one
# the ROS 2 wheels are installed into the virtual environment.

PYTHON ?= python3
VENV   := .venv
ARGS   ?=
# How many tests run at a time.
JOBS   ?= 2

REQUIREMENTS := requirements/training.txt requirements/test.txt requirements/build.txt
ifdef ROS_DISTRO
# The distribution's generators need Python packages that the system has (empy, lark).
VENV_FLAGS := --system-site-packages
else
REQUIREMENTS += requirements/ros_wheels.txt
endif
# What the build reads: interfaces, Python, launch, config, models.
SOURCES := package.xml CMakeLists.txt $(wildcard resource/* msg/* srv/*) \
  $(shell find codesign_ros launch config bundles bags -type f -not -name '*.pyc')

# Tests of the nodes; each file runs in a process of its own, those that take longest first.
LONG_TESTS := $(addprefix test/nodes/test_,system.py planner.py camera.py)
NODE_TESTS := $(LONG_TESTS) $(filter-out $(LONG_TESTS),$(sort $(wildcard test/nodes/test_*.py)))

.PHONY: demo test test-all test-extras lint codesign benchmark testbed faults fuzz docs gpu setup clean $(NODE_TESTS)

demo: setup
	scripts/in_ros codesign demo $(ARGS)

codesign: setup
	@scripts/in_ros codesign $(ARGS)

# ARGS may leave no test (pytest then ends with 5); without them that is a mistake.
NO_TESTS := $(if $(ARGS),5,0)

# Tests that need no ROS, then those of the nodes. A thread for each process, and none that
# waits busily, or they take each other's cores.
test: export OMP_NUM_THREADS := 1
test: export OMP_WAIT_POLICY := passive
test: lint test-extras
	scripts/in_ros python -m pytest --numprocesses=$(JOBS) --dist=worksteal $(ARGS) --ignore=test/nodes \
	  || [ $$? -eq $(NO_TESTS) ]
# The nodes' tests wait more than they compute.
	$(MAKE) --no-print-directory --jobs=$$(($(JOBS) + 1)) --output-sync --keep-going $(NODE_TESTS)

# Every combination where `make test` takes a sample.
test-all: export PYTEST_ADDOPTS += --every-combination
test-all: test

$(NODE_TESTS):
	scripts/in_ros python -m pytest $(ARGS) $@ || [ $$? -eq $(NO_TESTS) ]

# What tests of the TensorRT engine and of video need beside. A machine may lack it (another
# processor, no C++ compiler): those tests are then skipped and say so.
test-extras: setup
	-scripts/in_ros python -m pip install --quiet --no-deps -r requirements/tensorrt_rtx.txt
	-scripts/in_ros python -m pip install --quiet --no-deps -r requirements/video.txt
	-scripts/in_ros scripts/tensorrt_bindings build/tensorrt_bindings
	-scripts/in_ros scripts/pycuda_for_tests build/pycuda

# On a machine with an NVIDIA driver and CUDA's headers: what backend tensorrt needs. TensorRT itself
# comes with JetPack; where there is none, TensorRT for RTX is installed.
gpu: setup
	scripts/in_ros python -m pip install --quiet -r requirements/gpu.txt
	scripts/in_ros python -c "import tensorrt" 2> /dev/null || \
	  scripts/in_ros python -m pip install --quiet --no-deps -r requirements/tensorrt_rtx.txt

# Times of this machine; wants it quiet. ARGS go to both.
benchmark: setup
	OMP_NUM_THREADS=1 scripts/in_ros python benchmarks/planner_speed.py $(ARGS)
	OMP_NUM_THREADS=1 scripts/in_ros python benchmarks/predicted_vs_measured $(ARGS)

# Policies against each other on real nodes over a shaped link; wants root and a quiet machine.
testbed: setup
	OMP_NUM_THREADS=1 scripts/in_ros python benchmarks/testbed $(ARGS)

# What the robot does while its server or its link is gone; wants root and a quiet machine.
faults: setup
	OMP_NUM_THREADS=1 scripts/in_ros python benchmarks/faults $(ARGS)

# Damaged messages by the thousand, each of which must be taken or refused; ARGS="--count 1000000".
fuzz: setup
	OMP_NUM_THREADS=1 scripts/in_ros python -W error::RuntimeWarning benchmarks/fuzz.py $(ARGS)

# The generated parts of docs/ros_interface.md and docs/reproduction.md.
docs: setup
	scripts/in_ros python scripts/write_ros_interface
	scripts/in_ros python scripts/write_reproduction

lint: setup
	scripts/in_ros ruff check .
	scripts/in_ros ruff format --check .
	scripts/in_ros mypy

setup: install/.built

# One stamp for each step, so that a second call does no work twice.
$(VENV)/.installed: $(REQUIREMENTS) requirements/robot.txt requirements/server.txt
	$(PYTHON) -m venv $(VENV_FLAGS) $(VENV)
	$(VENV)/bin/python -m pip install --quiet $(addprefix -r ,$(REQUIREMENTS))
	touch $@

install/.built: $(VENV)/.installed $(SOURCES)
	scripts/in_ros colcon build --base-paths . --cmake-args \
	  -GNinja -DPython3_EXECUTABLE=$(CURDIR)/$(VENV)/bin/python -DBUILD_TESTING=OFF
	touch $@

clean:
	rm -rf build install log $(VENV)
