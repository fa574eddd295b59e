"""The path of every paid request: hold, route, generate, deliver, settle."""
