"""One thin function a command: it reads what was typed, asks the package, and prints the answer."""
