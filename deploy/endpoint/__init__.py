"""An endpoint in AWS: its requests, its life, its scaling."""
