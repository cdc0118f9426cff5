"""What the benchmark programs share: virtual machines to measure, statistics, reports."""
