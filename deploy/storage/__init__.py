"""Folders of this machine and their places in S3."""
