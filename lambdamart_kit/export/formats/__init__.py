"""The formats, one module each; `lambdamart_kit.export.EXPORTS` lists them."""
