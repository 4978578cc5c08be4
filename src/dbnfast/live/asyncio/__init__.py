"""The asynchronous client, on an event loop."""
