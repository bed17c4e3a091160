"""Networks as ordered lists of named segments, their re-parameterisation and their halves.

This room needs torch. ``blocks`` holds the re-parameterisable block, ``reparam`` turns a trained
network into one of the four structures, ``network`` and ``layers`` describe a network, ``split``
cuts it and ``zoo`` has one module for each family of architectures. ``importing`` makes a network
from any module of torch (``graph_export``, ``graph_trace``, ``graph_cuts``), and ``graph`` builds
such a network again from plain data.
"""
