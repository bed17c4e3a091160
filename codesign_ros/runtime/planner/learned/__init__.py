"""What running frames taught of times and sizes, for the next solves."""
