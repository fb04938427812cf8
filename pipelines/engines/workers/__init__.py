"""The programs `mmfeat-worker` and `mmfeat-worker-pool`, which engines use to run the stages."""
