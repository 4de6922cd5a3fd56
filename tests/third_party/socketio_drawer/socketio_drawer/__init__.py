"""A store that a stranger wrote."""
