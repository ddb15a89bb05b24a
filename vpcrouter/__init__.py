"""Which routes a VPC's tables hold: snapshot, plan, transition, fabric and the command line."""
