"""Engine.IO: sessions, and what carries them."""
