"""What the kernel side and the Ledger cost."""
