"""Releases that the coordinator offers to its machines. It holds no key that can sign one."""
