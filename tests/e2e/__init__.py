"""Real servers and real clients around a real guard; everything runs privately on loopback."""
