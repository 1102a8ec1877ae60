"""Lockstitch runs assistant threads so that no run is lost or left hanging."""
