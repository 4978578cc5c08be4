"""Records as CSV and JSON lines, and back."""
