"""Gevent's greenlets and web server for flask-socketio-core, uWSGI included."""
