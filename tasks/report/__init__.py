"""What a run did, as one page of HTML that needs nothing else."""
