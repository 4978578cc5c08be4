"""Coverage-guided fuzzing: properties that hold for any bytes, and what feeds them bytes."""
