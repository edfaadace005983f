"""The serving process group: engine ranks, HTTP front, retrieval and conversations."""
