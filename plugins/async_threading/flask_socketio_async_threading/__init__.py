"""Threads and the Werkzeug server for flask-socketio-core."""
