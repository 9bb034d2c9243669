"""The demo: the real guard in front of a small backend, a person, an attacker, and a tour of what
happens. Started with `./run demo [--once]`; not installed with the package."""
