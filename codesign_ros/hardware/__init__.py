"""The machine underneath: which Jetson it is, its power mode and clocks, and whether it is too hot.

Read from files of the kernel, never set. Nothing here has run on a Jetson: paths and formats are
those of NVIDIA's documentation, of the kernel's, and of tools that read the same files; the tests
read trees made by hand after them.
"""
