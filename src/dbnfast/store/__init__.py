"""One file or a thousand, and everything they become."""
