"""Each command as a function."""
