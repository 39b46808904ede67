"""Commands about what to show: policies judged from logs, diversified lists, simulated users."""
