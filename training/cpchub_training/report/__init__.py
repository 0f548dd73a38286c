"""What is known about one or more encoders as one HTML page that needs nothing else, and as PNG files."""

from __future__ import annotations

from cpchub_training.report.page import report

__all__ = ["report"]
