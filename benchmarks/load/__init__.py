"""The programs that make the load: standard library alone, one file each, so that any Python runs them."""
