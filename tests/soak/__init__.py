"""A soak: clients that come, talk and leave in every way, over two servers whose broker is restarted on the way."""
