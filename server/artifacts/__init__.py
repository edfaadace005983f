"""Folders that are fetched from S3 once, verified, and shared by every process of a machine."""
