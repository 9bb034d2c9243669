"""The units of `systemd/` under a real systemd: a machine of its own in systemd-nspawn."""
