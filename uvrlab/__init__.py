"""uvrlab: from a folder of videos to a trained, explained, promoted universal video-retrieval model."""
