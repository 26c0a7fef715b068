"""Stories that the local AWS plays: data, people, code, traffic and time change, the templates never do."""
