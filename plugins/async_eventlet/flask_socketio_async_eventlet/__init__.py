"""Eventlet's green threads and web server for flask-socketio-core."""
