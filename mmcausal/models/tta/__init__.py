"""TDE around trained models, at test time only: for MMPretrain's classifiers and MMDetection's detectors."""
