"""The default rules of other programs, each as its own source or documentation states them.

They stand in for the programs where a world has a million events; how far they agree with real
ones is checked elsewhere. None has the delay that reading a log costs, none the lists of addresses
that some programs share: the first flatters them, the second does not.
"""
