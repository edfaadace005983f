"""What watches a running server: a Grafana dashboard and Prometheus alert rules."""
