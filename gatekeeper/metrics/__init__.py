"""Metrics for Prometheus: what there is, where it is read, and how it is told.

`families` declares every metric with its labels; `readings` takes the values from the parts of the
guard when somebody asks; `exposition` writes them down. What happens on a session's path is counted
by `gatekeeper.tally`; nothing here runs until a scraper comes.
"""
