"""The blocking client: its socket and its threads."""
