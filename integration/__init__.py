"""What the product promises, shown on a real Kubernetes; `scripts/test` runs it."""
