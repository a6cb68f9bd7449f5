"""The command line: parse, call the api, print; one module per command."""
