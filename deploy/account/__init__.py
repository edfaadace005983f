"""What an endpoint needs around it in the AWS account: made once, and taken away with the rest."""
