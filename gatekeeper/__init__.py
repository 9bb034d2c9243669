"""gatekeeper: a TLS-terminating SMTP and IMAP auth guard whose verdicts end in the kernel."""

__version__ = "0.1.0"
