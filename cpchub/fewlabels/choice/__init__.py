"""Which images to label next: typical ones first, then those that the labels leave in doubt."""
