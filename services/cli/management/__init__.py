"""What the commands for operators share: clients of the services, and how answers are shown."""
