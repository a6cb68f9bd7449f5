"""Importing large libraries so that Ctrl-C cannot leave them half imported.

Python raises KeyboardInterrupt in the main thread, wherever that is. Amid the import of a library
of many modules it leaves some loaded and others not; what imports it next finds attributes missing
until the process ends. So another thread imports, which no signal reaches, and goes on if the main
thread does not wait for it any longer.
"""

from __future__ import annotations

import sys
import threading
from importlib import import_module
from types import ModuleType


def import_whole(name: str) -> ModuleType:
    """Import a module and return it.

    Parameters
    ----------
    name : str
        In full.

    Raises
    ------
    ImportError
        As the import does.
    """
    if name not in sys.modules and threading.current_thread() is threading.main_thread():
        failure: list[BaseException] = []

        def load() -> None:
            try:
                import_module(name)
            except BaseException as error:  # raised again below, in the main thread
                failure.append(error)

        thread = threading.Thread(target=load, name=f"import {name}")
        thread.start()
        thread.join()
        if failure:
            raise failure[0]
    return import_module(name)
