"""What the integration tests stand on: the cluster, namespaces, the product run as a plain user, load."""
