"""The privileged process: a closed table of verbs over nftables. Imports nothing of the guard."""
