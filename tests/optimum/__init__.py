"""What the least load really is: the planner's problem stated and solved again, without it.

`case` states the problem of one table and family. `brute` tries everything, `program` asks an
integer program, `partitions` counts for hundreds of blocks; none of them shares code with the
planner. `claims` holds what a plan says against them, on the snapshots of `clusters`.
"""
