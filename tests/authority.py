"""A time-stamping authority for tests, by OpenSSL's command."""

import subprocess
from pathlib import Path


class Authority:
    """One that exists for as long as its folder does."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "ts.cnf").write_text(
            f"[tsa]\ndefault_tsa = t\n[t]\nserial = {folder}/serial\ncrypto_device = builtin\n"
            "default_policy = 1.2.3.4\ndigests = sha256\nsigner_digest = sha256\naccuracy = secs:1\n"
            "[req]\ndistinguished_name = dn\n[dn]\n"
            "[ca]\nbasicConstraints = critical,CA:TRUE\nkeyUsage = critical,keyCertSign\n"
            "[leaf]\nbasicConstraints = CA:FALSE\nextendedKeyUsage = critical,timeStamping\n"
        )
        (folder / "serial").write_text("01\n")
        self._openssl(
            *(
                "req",
                "-x509",
                "-newkey",
                "ec",
                "-pkeyopt",
                "ec_paramgen_curve:P-256",
                "-nodes",
                "-keyout",
                "ca.key",
                "-out",
                "ca.pem",
            ),
            *("-subj", "/CN=Root", "-extensions", "ca", "-config", "ts.cnf", "-days", "30"),
        )
        self._openssl(
            *(
                "req",
                "-newkey",
                "ec",
                "-pkeyopt",
                "ec_paramgen_curve:P-256",
                "-nodes",
                "-keyout",
                "tsa.key",
                "-out",
                "tsa.csr",
            ),
            *("-subj", "/CN=Stamps", "-config", "ts.cnf"),
        )
        self._openssl(
            *("x509", "-req", "-in", "tsa.csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-out", "tsa.pem"),
            *("-extfile", "ts.cnf", "-extensions", "leaf", "-days", "30", "-set_serial", "2"),
        )

    @property
    def root(self) -> bytes:
        return (self.folder / "ca.pem").read_bytes()

    def stamp(self, seal: bytes) -> bytes:
        (self.folder / "seal").write_bytes(seal)
        self._openssl("ts", "-query", "-data", "seal", "-sha256", "-cert", "-out", "query")
        return self.reply((self.folder / "query").read_bytes())

    def reply(self, query: bytes) -> bytes:
        (self.folder / "query").write_bytes(query)
        self._openssl(
            *("ts", "-reply", "-config", "ts.cnf", "-queryfile", "query", "-signer", "tsa.pem"),
            *("-inkey", "tsa.key", "-out", "reply"),
        )
        return (self.folder / "reply").read_bytes()

    def _openssl(self, *arguments: str) -> None:
        subprocess.run(["openssl", *arguments], cwd=self.folder, check=True, capture_output=True)
