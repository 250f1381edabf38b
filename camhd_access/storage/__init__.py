"""Bytes in and out: byte ranges over HTTP, the disk cache, one version of a file, atomic writes."""
