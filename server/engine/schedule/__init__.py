"""What is computed next: queues, admission, blocks and plans. Plain Python, no torch."""
