"""The compiled core: private; it knows lengths and offsets, never a field's name."""
