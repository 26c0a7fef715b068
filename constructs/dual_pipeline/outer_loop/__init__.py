"""The outer loop: a Step Functions machine from new data to an answering endpoint, in modules of a few states each."""
