"""Amazon SageMaker on this machine: the API, its jobs, pipelines and endpoints."""
