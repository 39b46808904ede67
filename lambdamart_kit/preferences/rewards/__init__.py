"""What turns pairs with features into rewards: the view of pairs, scorers, and bags of them."""
