"""``python -m lambdamart_kit`` is ``lambdamart-kit``."""

from lambdamart_kit.cli import main

if __name__ == "__main__":
    main()
