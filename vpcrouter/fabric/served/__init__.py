"""The simulated VPC served over HTTP as EC2 and Service Quotas speak, on the loopback only.

It takes the calls that the router uses and refuses everything else, also what EC2 would ignore.
"""
