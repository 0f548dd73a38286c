"""Whole jobs: pretrain and export, suites of recipes, fine-tune and distil, the quickstart."""
