"""The AWS account: requests, roles, buckets, what to remove."""
