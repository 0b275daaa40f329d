"""Evolution API, v1 and v2, over the same services: its clients change the base URL and the key, and no more."""
