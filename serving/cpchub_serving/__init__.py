"""The demo page: search a collection of pictures and classify it from a handful of labels, in a browser."""
