"""Contract suites: what every adapter of one seam owes its callers."""
