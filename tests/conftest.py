"""What all tests share: Hypothesis draws the same examples everywhere; who may have namespaces."""

import subprocess

import pytest
from hypothesis import settings

settings.register_profile("gatekeeper", derandomize=True, deadline=None, database=None)
settings.load_profile("gatekeeper")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip the tests of the kernel where it lends no network: without root, in most containers."""
    asking = [item for item in items if item.get_closest_marker("netns")]
    if asking and (refusal := _refusal()):
        for item in asking:
            item.add_marker(pytest.mark.skip(reason=f"no network namespace: {refusal}"))


def _refusal() -> str:
    """Why no network of one's own can be made and changed; empty where it can."""
    attempt = subprocess.run(
        ["unshare", "--net", "ip", "link", "set", "lo", "up"],
        capture_output=True,
        text=True,
        check=False,
    )
    return attempt.stderr.strip() if attempt.returncode else ""
