"""All tests; folders mirror the rooms of the code."""

from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
