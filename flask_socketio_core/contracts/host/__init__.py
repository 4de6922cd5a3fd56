"""The processes of one user on one host: where they find each other, and sockets that are never monkey-patched."""
