"""The engine group: tensor-parallel ranks that decode and classify in the same steps."""
