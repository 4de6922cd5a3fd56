"""A message queue for flask-socketio-core: messages go by pigeon."""
