"""Durable state: adapters of the `Store` Protocol."""
