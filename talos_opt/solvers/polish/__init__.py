"""What is done with a schedule once its value is found.

ties            of schedules of equal value, one that idles less and moves fewer bytes
consolidation   fewer devices and transfers, for a small share of the value
emptying        placements that do without a device
search          the local search of both
neighbours      its moves
trials          what becomes of a move
setup           how long all this may take, and whether compiled
"""

from talos_opt.solvers.polish.consolidation import Consolidation, consolidate
from talos_opt.solvers.polish.setup import reserve
from talos_opt.solvers.polish.ties import polish

__all__ = ["Consolidation", "consolidate", "polish", "reserve"]
