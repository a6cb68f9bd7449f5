"""What makes the documentation a site: hooks of MkDocs, and the runner of the examples."""
