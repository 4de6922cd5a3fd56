"""What the tests share: real brokers, clients and servers, started and stopped by the tests themselves."""
