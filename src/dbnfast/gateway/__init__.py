"""A local gateway that replays DBN files over the live protocol, for tests and demonstrations."""
