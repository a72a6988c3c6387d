"""What the parts of the pipeline hand to each other: documents, edits, configuration, Arrow schemas."""
