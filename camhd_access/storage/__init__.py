"""Bytes in and out: ranges over HTTP, ranges kept on disk, one version of one file, files written whole."""
