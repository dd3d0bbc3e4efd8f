"""The HTTP side: parse, authorise, call one service, answer."""
