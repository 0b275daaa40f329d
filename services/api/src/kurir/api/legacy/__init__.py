"""Other gateways' APIs over the same services: their clients change the base URL, and no more."""
