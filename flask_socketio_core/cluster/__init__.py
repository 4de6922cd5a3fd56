"""What several servers say to each other over a message queue."""
