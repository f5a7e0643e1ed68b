"""Import networks of other frameworks: Keras, PyTorch, scikit-learn and ONNX."""
