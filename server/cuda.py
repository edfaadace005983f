"""The CUDA that the pinned torch is built with, and the driver that it needs."""

VERSION = "13.0"
LEAST_DRIVER = 580  # NVIDIA's first branch that supports CUDA 13.0
