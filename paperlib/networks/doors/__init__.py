"""The doors through which networks of other frameworks come in: Keras, PyTorch, scikit-learn, ONNX."""
