"""The kurir command: one face over whatever Kurir services are installed, and the embedded system for a laptop."""
