"""One forward pass: attention, layout, graphs, sampling, text."""
