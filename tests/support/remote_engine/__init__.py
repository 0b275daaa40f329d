"""A real engine in a process of its own, for tests: the library may end its process, and trusts the emulator there."""
