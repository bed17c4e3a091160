"""Training of classifiers on folders of images and public sets."""
