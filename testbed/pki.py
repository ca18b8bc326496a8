"""Certificates and kubeconfigs of one cluster, made with openssl; valid for a year, trusted by nobody else."""

import base64
import subprocess
from dataclasses import dataclass
from pathlib import Path

import yaml

from testbed.errors import TestbedError

DAYS = "365"
_KEY = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")


@dataclass(frozen=True)
class Authority:
    """A cluster's certificate authority and the folder that holds everything it issued."""

    folder: Path

    @property
    def certificate(self) -> Path:
        """The certificate that everything of the cluster trusts."""
        return self.folder / "ca.crt"

    def certificate_of(self, name: str) -> Path:
        """The certificate issued under that name."""
        return self.folder / f"{name}.crt"

    def key_of(self, name: str) -> Path:
        """The private key that belongs to it."""
        return self.folder / f"{name}.key"

    def create(self) -> None:
        """Make the authority and the key that signs service account tokens."""
        self.folder.mkdir(parents=True, exist_ok=True)
        authority = ("req", "-x509", *_KEY, "-days", DAYS, "-subj", "/CN=testbed-ca")
        self._openssl(*authority, "-keyout", "ca.key", "-out", "ca.crt")
        self._openssl("genrsa", "-out", "service-account.key", "2048")

    def issue(self, name: str, subject: str, *, addresses: tuple[str, ...] = (), names: tuple[str, ...] = ()) -> None:
        """Issue a certificate for client and server use; `subject` as openssl writes it, `/O=group/CN=user`."""
        self._openssl("req", *_KEY, "-keyout", f"{name}.key", "-out", f"{name}.csr", "-subj", subject)
        alternatives = [*(f"IP:{address}" for address in addresses), *(f"DNS:{name}" for name in names)]
        extensions = self.folder / f"{name}.ext"
        extensions.write_text(f"subjectAltName={','.join(alternatives)}\n" if alternatives else "")
        signed = ("x509", "-req", "-in", f"{name}.csr", "-CA", "ca.crt", "-CAkey", "ca.key", "-CAcreateserial")
        self._openssl(*signed, "-days", DAYS, "-extfile", str(extensions), "-out", f"{name}.crt")

    def write_kubeconfig(self, target: Path, *, user: str, server: str) -> None:
        """Write a kubeconfig with everything inside, for `user` as issued."""
        config = {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "testbed",
            "clusters": [
                {
                    "name": "testbed",
                    "cluster": {"server": server, "certificate-authority-data": _encoded(self.certificate)},
                }
            ],
            "users": [
                {
                    "name": user,
                    "user": {
                        "client-certificate-data": _encoded(self.certificate_of(user)),
                        "client-key-data": _encoded(self.key_of(user)),
                    },
                }
            ],
            "contexts": [{"name": "testbed", "context": {"cluster": "testbed", "user": user}}],
        }
        target.touch(mode=0o600)
        target.write_text(yaml.safe_dump(config))

    def _openssl(self, *argv: str) -> None:
        done = subprocess.run(["openssl", *argv], cwd=self.folder, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            msg = f"openssl {' '.join(argv)} failed: {done.stderr.strip()}"
            raise TestbedError(msg)


def _encoded(file: Path) -> str:
    return base64.b64encode(file.read_bytes()).decode()
