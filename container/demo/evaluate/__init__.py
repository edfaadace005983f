"""Measuring the demo models."""
