"""The command line: one module a command; needs the extra ``cli``."""
