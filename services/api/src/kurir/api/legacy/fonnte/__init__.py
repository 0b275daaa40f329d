"""Fonnte's API, and that of the dashboard which took it over."""
