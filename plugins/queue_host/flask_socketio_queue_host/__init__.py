"""The processes of one host as message queue for flask-socketio-core, without a broker."""
