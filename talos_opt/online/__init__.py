"""Plans that live on: what has started stays, the rest is planned again.

replan     a schedule that runs, planned again at a moment
moves      what runs elsewhere than planned, and why
trace      models that arrive over time, as a file tells it
policies   what is done when one arrives
compared   all policies on a trace, beside who knew everything before
"""
