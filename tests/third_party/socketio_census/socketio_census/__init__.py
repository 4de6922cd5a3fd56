"""Counts the clients of all servers, and keeps a rate."""
