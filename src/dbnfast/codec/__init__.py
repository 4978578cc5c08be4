"""DBN bytes to records and back: whole buffers, streams, pieces."""
