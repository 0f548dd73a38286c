"""Few labels on real images: each part measures one claim, and all of them are kept in one JSON file."""
