"""One thin function per command: it reads the options, calls the package, and prints the answer."""
