"""One authority per run, with an ECDSA and an RSA pair per server name."""

import ssl
from dataclasses import dataclass
from pathlib import Path

import trustme


@dataclass(frozen=True, slots=True)
class Pair:
    """PEM files of a chain and its key."""

    certificate: Path
    private_key: Path


@dataclass(frozen=True, slots=True)
class Authority:
    """A certificate authority that lives as long as the tests, writing below `directory`."""

    directory: Path
    issuer: trustme.CA

    @classmethod
    def make(cls, directory: Path) -> "Authority":
        """A new authority whose own certificate is `directory`/ca.pem."""
        directory.mkdir(exist_ok=True)
        issuer = trustme.CA()
        issuer.cert_pem.write_to_path(str(directory / "ca.pem"))
        return cls(directory, issuer)

    @property
    def file(self) -> Path:
        """What clients trust."""
        return self.directory / "ca.pem"

    def issue(
        self, stem: str, *names: str, key_type: trustme.KeyType = trustme.KeyType.ECDSA
    ) -> Pair:
        """A pair for `names`, readable by everybody: the guard and the servers drop rights.

        The first name is also the common name, the only place where mbsync looks for addresses.
        """
        leaf = self.issuer.issue_cert(*names, common_name=names[0], key_type=key_type)
        pair = Pair(self.directory / f"{stem}.pem", self.directory / f"{stem}.key")
        pair.certificate.write_bytes(b"".join(blob.bytes() for blob in leaf.cert_chain_pems))
        pair.private_key.write_bytes(leaf.private_key_pem.bytes())
        pair.private_key.chmod(0o644)
        return pair

    def client_context(self) -> ssl.SSLContext:
        """A client that trusts this authority and checks names."""
        return ssl.create_default_context(cafile=str(self.file))
