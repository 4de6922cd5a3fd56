"""Kafka as message queue for flask-socketio-core."""
