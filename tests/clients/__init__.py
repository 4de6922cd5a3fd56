"""Real clients over real servers."""
