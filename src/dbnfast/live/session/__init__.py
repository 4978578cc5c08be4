"""A session over as many connections as it takes, without I/O."""
