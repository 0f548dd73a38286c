"""The HTTP API: vectors, search and classification for programs, on FastAPI."""
