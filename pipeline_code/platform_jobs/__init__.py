"""The Glue jobs of the platform: plain PySpark that knows no project; contract and rules come as arguments."""
