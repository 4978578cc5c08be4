"""What was delivered, and what to ask for after a disconnect."""
