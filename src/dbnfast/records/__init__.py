"""Runs of records in one buffer, and what is done with their headers."""
