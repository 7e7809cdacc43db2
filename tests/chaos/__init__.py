"""The mesh under what happens to it; a package, so that the cluster of these tests ends with the last of them."""
