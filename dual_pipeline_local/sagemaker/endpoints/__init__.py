"""Endpoints: configurations, fleets of serving processes, guarded deployments."""
