"""Bringing a dataset up to date: what is to be cleaned, and what becomes of the documents that are there."""
