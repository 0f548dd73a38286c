"""Which encoders there are, and what is known of each. Only the standard library is imported here."""

from cpchub.catalog.listing import broken_folders, catalog_folder, get_spec, list_models
from cpchub.catalog.spec import ModelSpec

__all__ = ["ModelSpec", "broken_folders", "catalog_folder", "get_spec", "list_models"]
