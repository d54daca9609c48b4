"""What scores a sample: rules that compare with gold, rules that need none, and learned reward models."""
