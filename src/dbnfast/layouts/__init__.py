"""What a record is: the table of its fields, and what follows from it."""
