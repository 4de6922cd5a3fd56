"""The smallest application: whatever a client says comes back, and its acknowledgement says so."""

from flask import Flask

from flask_socketio_core import SocketIO, emit

app = Flask(__name__)
socketio = SocketIO(app)


@socketio.on("message")
def echo(text: str) -> str:
    emit("message", text)
    return "got it"


if __name__ == "__main__":
    socketio.run(app)
