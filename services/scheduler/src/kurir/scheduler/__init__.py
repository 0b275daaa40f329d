"""Everything that happens later or by itself."""
