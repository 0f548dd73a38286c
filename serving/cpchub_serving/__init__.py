"""The demo page: search a collection of images and classify it from a handful of labels, in a browser."""
