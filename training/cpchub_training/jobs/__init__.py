"""Whole jobs: pretrain and export, fine-tune and distil, the quickstart."""
