"""Raw clients: what goes over the wire, written by the tests byte for byte, with no client library's opinion."""
