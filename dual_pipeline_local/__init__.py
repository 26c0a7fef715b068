"""The local AWS: an emulator that runs both loops from the templates that ship."""
