"""RabbitMQ and Kombu's other transports as message queue for flask-socketio-core."""
