"""eventlet's tests run in a patched process of their own."""

import eventlet

eventlet.monkey_patch()
