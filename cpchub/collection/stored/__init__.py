"""A collection in a bucket: its files there, its copy on this machine, and one writer at a time."""
