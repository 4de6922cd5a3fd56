"""Slow and steady: an async mode, its WebSocket and a message queue for flask-socketio-core."""
