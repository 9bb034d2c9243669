"""Pure policy: counters, facts and rules; `now` is always an argument."""
