"""Socket.IO for Flask in which every moving part is a plugin."""
