"""How an expert is reached: by its deployment's handle, or elsewhere by HTTP. One form: base."""
