"""A classifier that is kept: saved as a folder, exported with its encoder, published, and loaded back."""
