"""The shell around the decisions: what watches, queues, gathers, carries out, listens and reports."""
