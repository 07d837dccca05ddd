"""The client protocol, for code that builds or parses it itself."""
