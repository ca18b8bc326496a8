"""A Kubernetes operator that deploys the parallel consumer runtime and tunes it while it runs."""
