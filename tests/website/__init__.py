"""The site: its runner of examples, its tables of options, and the built pages in a browser."""
