"""A study: many runs that a file asks for, one process each."""
