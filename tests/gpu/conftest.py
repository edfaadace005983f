"""Tests of the CUDA path use the real rank processes and small models of the process tests, on another device."""

from __future__ import annotations

import sys
from pathlib import Path

TESTS = Path(__file__).parents[1]
sys.path[:0] = [str(TESTS / "process" / "engine"), str(TESTS / "unit" / "engine")]
