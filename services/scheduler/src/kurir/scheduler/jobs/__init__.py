"""One file per job: what it does, and what a repeat of it does."""
