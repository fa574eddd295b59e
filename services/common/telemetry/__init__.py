"""What a process tells about itself: logs, traces, and the admin port with its metrics."""
