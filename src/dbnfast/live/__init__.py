"""A live session: the protocol without I/O, two pumps, and what a process needs all night."""
