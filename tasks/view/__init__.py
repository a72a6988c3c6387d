"""The browser for a dataset: what `qingyuan view` serves (docs/view.md, docs/adr/0024-view.md)."""
