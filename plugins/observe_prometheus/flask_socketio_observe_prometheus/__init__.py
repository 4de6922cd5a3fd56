"""Metrics of flask-socketio-core for Prometheus."""
