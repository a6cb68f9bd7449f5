"""What the problem is, and the truth about an answer: domain, checker, simulator, metrics."""
