"""What the operator wants to exist: pure functions from a spec to manifests, one file per kind of object."""
