"""Pure protocol code: bytes in, Segments and records out; no I/O, clock, randomness or logging."""
