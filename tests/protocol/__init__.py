"""Engine.IO 4, Socket.IO 5 and RFC 6455, byte for byte, against a server of each kind."""
