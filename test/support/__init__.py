"""What tests of several rooms share: small networks, doubles, files, processes."""
