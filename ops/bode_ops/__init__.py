"""What operators and support staff use: the command line, the pages, the metrics; and the one composition root."""
