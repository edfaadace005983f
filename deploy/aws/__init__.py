"""AWS's API: every request checked against botocore's models, then sent, or printed by a dry run."""
