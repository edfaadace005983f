"""The image on this machine, as the endpoint would run it."""
