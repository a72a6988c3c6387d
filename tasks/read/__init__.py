"""Readers: one module per input format; each yields raw documents, bytes and where they came from."""
