"""The image: built here or in CodeBuild, pushed to ECR."""
