"""What a gateway sends: the source, in chunks, cut, on a timeline."""
