"""One application, two libraries, the same transcript."""
