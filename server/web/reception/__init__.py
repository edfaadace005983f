"""A request is received whole before a thread has it."""
