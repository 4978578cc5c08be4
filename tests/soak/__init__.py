"""Seeded sessions against a gateway of its own, and what must hold for each of them."""
