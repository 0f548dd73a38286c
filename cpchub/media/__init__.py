"""Images: what a folder holds (`sources`) and from bytes to upright RGB (`decode`)."""
