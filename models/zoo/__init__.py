"""Graph files of well-known networks, made from their published architectures.

``python -m models.zoo`` writes every file of ``models/``; ``python -m models.zoo --check`` only
tells whether the files on disk still equal what this package makes.

Data flows one way: `networks` builds a `Network` of `Op` (with `layers`), `training` may turn it
into a training step, `roofline` gives each op a time per device, `catalogue` says which networks
stand together in a file, and `write` puts it all into text.
"""
