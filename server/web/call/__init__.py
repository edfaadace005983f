"""One HTTP call: services, errors, measurements."""
