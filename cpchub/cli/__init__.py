"""The command line: each command is a typed dataclass whose fields are its arguments and flags, without logic.

Modules that take time to import are imported inside `run`, so that `cpchub --help` is instant.
"""
