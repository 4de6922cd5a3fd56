"""The official Admin UI of Socket.IO, for flask-socketio-core."""
