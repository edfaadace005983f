"""From a checkpoint to a rank's share of the weights."""
