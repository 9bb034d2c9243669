"""Applying bans: adapters of the `Enforcer` Protocol."""
