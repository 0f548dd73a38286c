"""Milvus behind the index: Milvus Lite in the process, a server, or a cluster."""
