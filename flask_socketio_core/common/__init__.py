"""The ground: what knows nothing of the rest, apart from its errors."""
