"""The folder of vectors: read it, write it whole or not at all, merge, import, export."""
