"""The work itself: pure code for one document, and the tasks that run it over shards."""
