"""The runners as the router knows them: their registrations, their load and their health."""
