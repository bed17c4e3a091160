"""Two hosts on one machine: a robot and a server with a shaped link between them, and the nodes."""
