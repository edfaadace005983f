"""An index brought up to date: documents added, replaced and forgotten, the rest kept with its vectors."""
