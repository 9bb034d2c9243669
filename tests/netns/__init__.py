"""Hosts in anonymous network namespaces, and tests of the real kernel between them."""
