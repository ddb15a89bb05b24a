"""What people want to see of the address space: what is free, what is apart, where things lie.

Pure: made from a state, and from the load of nodes where that is known.
"""
