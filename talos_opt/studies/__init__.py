"""Studies: many cases from one file, solved in processes, with their results in one database."""
