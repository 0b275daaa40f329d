"""The history of a tenant as files."""
