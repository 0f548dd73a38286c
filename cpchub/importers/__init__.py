"""Checkpoints of other people's code, made into model folders. Nothing in such a file is executed."""
