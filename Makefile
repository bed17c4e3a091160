# Two commands: `make demo` and `make test` do all set-up on a fresh machine with Python 3.10-3.12,
# a C compiler and make. With a ROS 2 distribution sourced (ROS_DISTRO set) they use it; without one
# the ROS 2 wheels are installed into the virtual environment.

PYTHON ?= python3
VENV   := .venv
ARGS   ?=

REQUIREMENTS := requirements/runtime.txt requirements/test.txt requirements/build.txt
ifdef ROS_DISTRO
# The distribution's generators need Python packages that the system has (empy, lark).
VENV_FLAGS := --system-site-packages
else
REQUIREMENTS += requirements/ros_wheels.txt
endif
# What the build reads: interfaces, Python, launch, config, models.
SOURCES := package.xml CMakeLists.txt $(wildcard resource/* msg/* srv/*) \
  $(shell find codesign_ros launch config bundles bags -type f -not -name '*.pyc')

.PHONY: demo test test-extras lint codesign benchmark gpu setup clean

demo: setup
	scripts/in_ros codesign demo $(ARGS)

codesign: setup
	@scripts/in_ros codesign $(ARGS)

# ARGS may leave no test of a file (pytest then ends with 5); without them that is a mistake.
NO_TESTS := $(if $(ARGS),5,0)

# Tests that need no ROS in one process, then each file of test/nodes in a process of its own.
test: lint test-extras
	scripts/in_ros python -m pytest $(ARGS) --ignore=test/nodes
	for file in $(sort $(wildcard test/nodes/test_*.py)); do \
	  scripts/in_ros python -m pytest $(ARGS) $$file || [ $$? -eq $(NO_TESTS) ] || exit 1; \
	done

# What tests of the TensorRT engine need beside. A machine may lack it (another processor, no C++
# compiler): those tests are then skipped and say so.
test-extras: setup
	-scripts/in_ros python -m pip install --quiet --no-deps -r requirements/tensorrt_rtx.txt
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
	OMP_NUM_THREADS=1 scripts/in_ros python benchmarks/predicted_vs_measured.py $(ARGS)

lint: setup
	scripts/in_ros ruff check .
	scripts/in_ros ruff format --check .
	scripts/in_ros mypy

setup: install/.built

# One stamp for each step, so that a second call does no work twice.
$(VENV)/.installed: $(REQUIREMENTS)
	$(PYTHON) -m venv $(VENV_FLAGS) $(VENV)
	$(VENV)/bin/python -m pip install --quiet $(addprefix -r ,$(REQUIREMENTS))
	touch $@

install/.built: $(VENV)/.installed $(SOURCES)
	scripts/in_ros colcon build --base-paths . --cmake-args \
	  -GNinja -DPython3_EXECUTABLE=$(CURDIR)/$(VENV)/bin/python -DBUILD_TESTING=OFF
	touch $@

clean:
	rm -rf build install log $(VENV)
