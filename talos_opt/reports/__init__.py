"""Pictures and pages: what a person looks at instead of reading numbers.

Nothing here solves or measures; drawing libraries are loaded by the functions that draw.
"""
