"""`python -m curator_pipelines` is `curator`."""

from curator_pipelines.cli.main import main

if __name__ == "__main__":
    main()
