"""`python -m classifact`, for those who cannot reach the console script."""

from classifact.cli import main

if __name__ == "__main__":
    main()
