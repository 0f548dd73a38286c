"""A Hugging Face Space of one collection: its folder, and what runs in it."""
