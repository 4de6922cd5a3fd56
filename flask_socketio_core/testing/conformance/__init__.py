"""Test suites that plugin authors import: what a queue, an async mode and a WebSocket provider must do."""
