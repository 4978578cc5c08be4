"""One connection, without I/O: lines, the key, requests, records."""
