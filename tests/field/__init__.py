"""What applications in the field do, in small applications of our own."""
