"""The state of one visitor: queries, labels, predictions, thumbnails. Gradio is not imported here."""
