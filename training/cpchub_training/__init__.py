"""Produce encoders: methods, losses, views, data, the loop, evaluation and publishing."""
