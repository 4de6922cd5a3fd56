"""Workers of one web server serve each other's sessions: a request goes to the worker that has the session."""
