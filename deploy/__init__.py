"""From a checkpoint to a SageMaker endpoint and back to nothing."""
