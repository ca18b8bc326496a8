"""A ParallelConsumer on one machine without Kubernetes: the same reconcile and tune loop behind a local adapter."""
