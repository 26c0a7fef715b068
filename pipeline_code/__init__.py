"""Step code of model projects and of the platform's Glue jobs; runs in containers, so it imports only itself."""
