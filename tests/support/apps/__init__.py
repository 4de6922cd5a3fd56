"""The applications that the servers of :mod:`support.servers` serve, for either library."""
