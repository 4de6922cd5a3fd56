"""Redis and Valkey as message queue for flask-socketio-core."""
