"""What applications and plugin authors test with."""
