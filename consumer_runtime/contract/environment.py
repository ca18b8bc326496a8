"""What the operator mounts into a pod and sets in its environment, and where the runtime looks for it.

Names only; `consumer_runtime.secrets` reads the files, the operator's `desired` writes the pod's volumes.
"""

SETTINGS_FILE_VARIABLE = "CONSUMER_SETTINGS_FILE"
"""Path of the settings file; the default of `--config`."""

SETTINGS_FILE = "/etc/consumer/settings/runtime.yaml"
"""Where the ConfigMap's one key is mounted: a whole-directory mount, never a `subPath` (those are not updated)."""

SECRETS_DIRECTORY_VARIABLE = "CONSUMER_SECRETS_DIR"
"""Directory below which the Secrets' keys are mounted, by the file names below; each of them is optional."""

SECRETS_DIRECTORY = "/etc/consumer/secrets"

USERNAME_FILE = "credentials/username"
"""SASL user name: key `username` of `credentialsSecretRef`."""
PASSWORD_FILE = "credentials/password"  # noqa: S105 - a file's name
"""SASL password: key `password` of `credentialsSecretRef`."""
CA_FILE = "ca/ca.crt"
"""Certificate authorities in PEM: key `ca.crt` of `caSecretRef`."""
CERTIFICATE_FILE = "client/tls.crt"
"""The client's certificate in PEM: key `tls.crt` of `clientCertificateSecretRef`."""
KEY_FILE = "client/tls.key"
"""The client's private key in PEM: key `tls.key` of `clientCertificateSecretRef`."""

INSTANCE_ID_VARIABLE = "CONSUMER_INSTANCE_ID"
"""Kafka's `group.instance.id` for `membership: static`: the pod's name, by the downward API."""

TERMINATION_LOG_VARIABLE = "CONSUMER_TERMINATION_LOG"
"""File that takes the StartError as JSON when the runtime gives up; empty: none."""

TERMINATION_LOG = "/dev/termination-log"
"""The kubelet's default `terminationMessagePath`."""
