"""Reading a body strictly."""
