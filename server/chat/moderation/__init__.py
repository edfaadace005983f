"""What is judged, by which policy, and what follows."""
