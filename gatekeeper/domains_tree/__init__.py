"""The operator's tree of files about his domains, read and followed (docs/domains.md)."""

from gatekeeper.domains_tree.following import DomainsFollower
from gatekeeper.domains_tree.tree import Tree, Trouble

__all__ = ["DomainsFollower", "Tree", "Trouble"]
