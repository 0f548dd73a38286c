"""FAISS behind the index: candidates, exact search, held-out queries, calibration."""
