"""DNS for everybody in the guard: a stub that asks, and what is shared by all who ask."""
