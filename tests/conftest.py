"""What all tests share: Hypothesis draws the same examples on every machine."""

from hypothesis import settings

settings.register_profile("gatekeeper", derandomize=True, deadline=None, database=None)
settings.load_profile("gatekeeper")
