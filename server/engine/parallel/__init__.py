"""Being one of N ranks: the group, its all-reduce, its cores and device."""
