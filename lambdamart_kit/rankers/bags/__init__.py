"""Bags: the mean of several fits of one ranker, each on its own draw of queries."""
