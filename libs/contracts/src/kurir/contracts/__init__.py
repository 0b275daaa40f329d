"""What Kurir's services say to each other and to outside subscribers.

Structs, subjects, headers, states and limits; nothing here performs I/O and nothing but msgspec is imported,
so an internal system can install this package alone and subscribe.
"""
