"""Route tables in a Linux kernel, behind the port: policy routing on a router of one's own."""
