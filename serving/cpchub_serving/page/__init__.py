"""The page as a visitor sees it: Gradio components, HTML and CSS."""
