"""The WebSocket protocol: frames, compression, handshake. No I/O."""
