"""Everything that turns a problem into a schedule or a bound."""
